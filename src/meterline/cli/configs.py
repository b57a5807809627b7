"""
The CONFIG argument that most commands take, and how it is read.
"""

import os
from pathlib import Path

import click

from meterline.config import Config, load_config

CONFIG = click.argument("config", type=click.Path(dir_okay=False, path_type=Path))


def read_config(path: Path) -> Config:
    """
    Load a config with this process's environment. Raises ConfigurationErrors, which the group prints, exit code 78.
    """
    return load_config(path, os.environ)
