"""
Help texts, held by golden files, and usage errors.
"""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from meterline.cli import main

COMMANDS = (
    "",
    "run",
    "validate",
    "totals",
    "quarantine",
    "quarantine ls",
    "record",
    "key",
    "key new",
    "init",
    "demo",
    "plugins",
    "plugins ls",
    "plugins show",
    "doctor",
    "doctor agents",
    "doctor senders",
    "version",
)


def meterline(*arguments: str) -> Result:
    """
    Run a command in this process, as on a terminal of 100 columns.
    """
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, list(arguments), prog_name="meterline")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, golden: Callable[[str, str], None]) -> None:
    """Each command's help is what the golden file says."""
    result = meterline(*command.split(), "--help")

    assert result.exit_code == 0
    golden(f"help{'-' if command else ''}{command.replace(' ', '-')}.txt", result.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("run",),
        ("run", "a.yaml", "b.yaml"),
        ("totals", "a.yaml", "--by", "rule"),
        ("totals", "a.yaml", "--by", "customer,customer"),
        ("totals", "a.yaml", "--from", "yesterday"),
        ("totals", "a.yaml", "--from", "2026-11-22T18:30Z"),
        ("demo", "--secs", "0"),
        ("record", "--customer", "a", "--dimension", "b", "--value", "1"),
        ("record", "--customer", "a", "--dimension", "b", "--endpoint", "http://localhost:1"),
        ("record", "--customer", "a", "--dimension", "b", "--value", "1", "--endpoint", "localhost:1"),
        ("record", "--customer", "a", "--dimension", "b", "--value", "1", "--endpoint", "http://u:p@localhost:1"),
        ("record", "--customer", "a", "--dimension", "b", "--value", "1", "--metadata", "a"),
        ("record", "--customer", "a", "--dimension", "b", "--value", "1", "--metadata", "a=1", "--metadata", "a=2"),
        ("record", "--customer", "a", "--dimension", "b", "--value", "1", "--token-env", "X; ls"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    """Wrong arguments: exit code 2, and a line that says which."""
    result = meterline(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error:" in result.stderr
