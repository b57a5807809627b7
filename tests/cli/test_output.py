"""
What commands print, in a pipe and on a terminal.
"""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from meterline.cli.output import balance_line, json_line, table
from meterline.printable import printable

HOSTILE = "\x1b[31mred\x1b[0m\r\nforged\x07 \u202egnp.exe \x9b2J \ud800"


def printed(*rows: tuple[object, ...]) -> str:
    """
    Return a table as a pipe gets it.
    """
    command = click.Command("t", callback=lambda: table(("name", "value"), rows, right=("value",)))
    return CliRunner().invoke(command).output


def test_plain_tables_are_aligned() -> None:
    """In a pipe: a header, columns two spaces apart, numbers to the right, no space at the end of a line."""
    assert printed(("acme", 5), ("globex corporation", 12345)) == (
        "name                value\nacme                    5\nglobex corporation  12345\n"
    )


def test_plain_tables_without_rows() -> None:
    """No rows: the header alone."""
    assert printed() == "name  value\n"


def test_hostile_text_is_shown_and_not_sent() -> None:
    """A customer's name cannot clear the screen, forge a row or hide its direction."""
    shown = printed((HOSTILE, 1))

    assert shown.count("\n") == 2
    assert r"\x1b[31mred\x1b[0m\x0d\x0aforged\x07 \u202egnp.exe \x9b2J \ud800" in shown


@given(st.text())
def test_printable_leaves_nothing_unprintable(text: str) -> None:
    """Whatever comes in, what comes out can be printed; and what could be is not touched."""
    assert printable(text).isprintable() or not text
    assert printable(text) == text or not text.isprintable()


@pytest.mark.parametrize("no_color", ["", "1"])
def test_on_a_terminal_it_is_drawn(no_color: str) -> None:
    """On a terminal the header is bold, except with NO_COLOR, and markup in foreign text is text."""
    code = (
        f"from meterline.cli.output import table; table(('name', 'value'), [('[red]acme[/red] ' + {HOSTILE[:8]!r}, 5)])"
    )
    shown = on_a_terminal([sys.executable, "-c", code], {"NO_COLOR": no_color, "TERM": "xterm", "COLUMNS": "80"})

    assert "[red]acme[/red]" in shown
    assert r"\x1b[31mred" in shown
    assert "───" in shown
    assert ("\x1b[" in shown) is (no_color == "")


def on_a_terminal(command: list[str], env: dict[str, str]) -> str:
    """
    Run a command on a pseudo-terminal, and return what it drew.
    """
    inner, outer = pty.openpty()
    merged = {**os.environ, **env}
    merged = {key: value for key, value in merged.items() if value or key != "NO_COLOR"}
    subprocess.run(command, stdin=outer, stdout=outer, stderr=outer, env=merged, timeout=30, check=True)
    os.close(outer)
    chunks = []
    while chunk := _read(inner):
        chunks.append(chunk)
    os.close(inner)
    return b"".join(chunks).decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed and all is read
        return b""


def test_json_lines_are_ascii() -> None:
    """JSON stays on one line and carries nothing that a terminal could act on."""
    command = click.Command("j", callback=lambda: json_line({"customer": HOSTILE[:-1] + "ü"}))
    output = CliRunner().invoke(command).output

    assert output.isascii()
    assert re.fullmatch(r"\{.*\}\n", output)
    assert "\x1b" not in output


def test_balance_line() -> None:
    """The balance is read aloud as the documentation writes it."""
    balance = {"received": 15, "recorded": 5, "no_usage": 4, "duplicate": 3, "unmatched": 2, "quarantined": 1}

    assert balance_line(balance) == "15 received = 5 recorded + 4 no_usage + 3 duplicate + 2 unmatched + 1 quarantined"


@pytest.mark.parametrize("no_color", ["", "1"])
def test_errors_are_coloured_on_a_terminal(tmp_path: Path, no_color: str) -> None:
    """The word `error` is red on a terminal, and plain with NO_COLOR."""
    code = f"from meterline.cli import main; main(['validate', {str(tmp_path / 'none.yaml')!r}], standalone_mode=False)"
    wrapped = f"try:\n    {code}\nexcept SystemExit as end:\n    assert end.code == 78"
    shown = on_a_terminal([sys.executable, "-c", wrapped], {"NO_COLOR": no_color, "TERM": "xterm"})

    assert "opening config" in shown
    assert ("\x1b[31m" in shown) is (no_color == "")
