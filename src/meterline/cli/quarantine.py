"""
``meterline quarantine``: what could not become usage, and why.
"""

from pathlib import Path

import click

from meterline.cli.configs import CONFIG, read_config
from meterline.cli.output import json_line, table
from meterline.ledger import open_reader
from meterline.ledger.reader import QuarantineRow
from meterline.times import rfc3339, to_the_second


@click.group(name="quarantine")
def command() -> None:
    """
    Look at the points that could not become usage.
    """


@command.command(name="ls")
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def ls(config: Path, *, as_json: bool) -> None:
    """
    List what is in quarantine, oldest first: a line for each stream, rule and reason of an hour.

    Nothing in it is lost: the points are in the ledger, with their reason.
    """
    with open_reader(read_config(config).ledger.path) as reader:
        rows = reader.quarantine()
    if as_json:
        for row in rows:
            json_line(_facts(row))
    elif rows:
        columns = ("id", "reason", "rule", "received_at", "entries", "detail")
        table(columns, [_cells(row) for row in rows], right=("id", "entries"))
    else:
        click.echo("nothing is in quarantine")


def _facts(row: QuarantineRow) -> dict[str, object]:
    return {
        "id": row.id,
        "reason": row.reason,
        "rule": row.rule,
        "received_at": rfc3339(row.last_received_at),
        "detail": row.detail,
        "kind": row.kind,
        "entries": row.open,
        "quantity": row.quantity,
        "receiver": row.receiver,
        "principal": row.principal,
        "record_id": row.record_id or None,
    }


def _cells(row: QuarantineRow) -> tuple[object, ...]:
    return row.id, row.reason, row.rule or "-", to_the_second(row.last_received_at), row.open, row.detail
