"""
The ``meterline`` command: one group whose commands are imported when they are called.
"""

import importlib
import os
import re
from typing import Any

import click

from meterline.errors import ConfigurationError, MeterlineError
from meterline.printable import printable

EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2  # click's own
EXIT_CONFIG = 78

COMMANDS = {
    "run": "meterline.cli.run",
    "validate": "meterline.cli.validate",
    "totals": "meterline.cli.totals",
    "quarantine": "meterline.cli.quarantine",
    "record": "meterline.cli.record",
    "doctor": "meterline.cli.doctor",
    "key": "meterline.cli.key",
    "init": "meterline.cli.init",
    "demo": "meterline.cli.demo",
    "plugins": "meterline.cli.plugins",
    "version": "meterline.cli.version",
}


class _Lazy(click.Group):
    """
    Commands by module name, in the order in which people meet them; errors raised on purpose become exit codes.
    """

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MeterlineError as error:
            report(error)
            raise SystemExit(EXIT_CONFIG if isinstance(error, ConfigurationError) else EXIT_FINDINGS) from error


def report(error: MeterlineError) -> None:
    """
    Print an error on stderr, with the word ``error`` before a plain one; diagnostics say it themselves.
    """
    text = str(error)
    click.echo(findings_text(text if _HEAD.match(text) else f"error: {text}"), err=True)


def findings_text(text: str) -> str:
    """
    Return errors and warnings as a terminal may show them: their heads coloured, foreign characters escaped.
    """
    return "\n".join(_HEAD.sub(_coloured, printable(line)) for line in text.split("\n"))


_HEAD = re.compile(r"^(error|warning)(\[\w+\])?(?=: )")


def _coloured(head: re.Match[str]) -> str:
    return (
        click.style(head[0], fg="red" if head[1] == "error" else "yellow", bold=True) if head.start() == 0 else head[0]
    )


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.pass_context
def main(ctx: click.Context) -> None:
    """
    Turn the telemetry you already collect into usage records you can bill.

    Exit codes: 0 ok, 1 findings or failure, 2 wrong usage, 78 the configuration cannot be used.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
