"""
``meterline version``.
"""

import platform

import apsw
import click
import google.protobuf
import grpc

from meterline import __version__
from meterline.cli.output import json_line
from meterline.kernel import load_kernel


@click.command(name="version")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(*, as_json: bool) -> None:
    """
    Print the versions that matter in a bug report.
    """
    facts = {
        "meterline": __version__,
        "kernel": load_kernel().implementation,
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "grpc": grpc.__version__,
        "protobuf": google.protobuf.__version__,
    }
    if as_json:
        json_line(facts)
    else:
        click.echo("\n".join(f"{name} {value}" for name, value in facts.items()))
