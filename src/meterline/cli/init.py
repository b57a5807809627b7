"""
``meterline init``: a commented config that runs, and its JSON Schema for editors.
"""

import json
from importlib.resources import files
from pathlib import Path

import click

from meterline.config import json_schema

SCHEMA_NAME = "meterline.schema.json"


@click.command(name="init", short_help="Write a commented config that runs.")
@click.argument("path", type=click.Path(path_type=Path), default=Path("meterline.yaml"))
def command(path: Path) -> None:
    """
    Write a commented config to PATH (meterline.yaml), and beside it the JSON Schema that editors complete it from.

    A folder as PATH gets a meterline.yaml. An existing config is never overwritten.
    """
    target = path / "meterline.yaml" if path.is_dir() else path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(files("meterline.cli").joinpath("init.yaml").read_text("utf-8"))
    except FileExistsError as error:
        raise click.ClickException(f"writing {target}: it exists; name another path or move it away") from error
    target.with_name(SCHEMA_NAME).write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")
    click.echo(f"wrote {target} and {target.with_name(SCHEMA_NAME)}")
    click.echo(f"next: meterline validate {target} && meterline run {target}")
