"""
``meterline key``: credentials for senders.
"""

import hashlib
import json
import secrets

import click

from meterline.cli.output import json_line

PREFIX = "ml_"
"""What every token begins with, so that scanners of leaked secrets find it."""

_SECRET_BYTES = 24  # 192 bits; at least 128 cannot be guessed, and a hash of it need not be slow


@click.group(name="key")
def command() -> None:
    """
    Make keys for senders.
    """


@command.command(name="new")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def new(name: str, *, as_json: bool) -> None:
    """
    Print a new token for NAME, and the lines of the config that let it in.

    The token is shown this once: the config has its SHA-256 only. A second key of the same name is the same principal, so a
    key is replaced without a gap: add the new one, move the senders over, take the old one out.
    """
    if not name or not name.isprintable():
        raise click.BadParameter("a name has at least one character, and only printable ones", param_hint="NAME")
    token = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    digest = hashlib.sha256(token.encode()).hexdigest()
    if as_json:
        json_line({"name": name, "token": token, "token_sha256": digest})
        return
    click.echo(f"{token}\n")
    click.echo("Give it to the sender as `authorization: Bearer <token>`, and write into the config:\n")
    click.echo(f"auth:\n  keys:\n    - name: {json.dumps(name, ensure_ascii=False)}\n      token_sha256: {digest}")
