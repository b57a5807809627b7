"""
Where a new exporter begins, and what becomes of cursors that nobody uses any more.
"""

from collections.abc import Mapping
from typing import Any

import apsw

from meterline.api import Exporter
from meterline.api.config import start_instant
from meterline.errors import ConfigurationError
from meterline.ledger.deliveries import Position

BEGINNING = Position(1, 0)


def start_positions(connection: apsw.Connection, exporters: Mapping[str, Exporter[Any]]) -> dict[str, Position]:
    """
    Return where each exporter begins if it has no cursor yet. Reads the frames' headers only.

    :raises ConfigurationError: the ledger has records, and an exporter without cursor does not say ``start``.
    """
    known = {row[0] for row in connection.execute("SELECT name FROM exporter")}
    silent = [name for name, exporter in exporters.items() if name not in known and exporter.config.start is None]
    if silent and _has_records(connection):
        names = ", ".join(repr(name) for name in silent)
        key = silent[0]
        raise ConfigurationError(
            f"starting exporter {names}: the ledger has records and no cursor of that name, so it is not known which of"
            f" them it is to be given; add `start: now`, `start: beginning` or `start: <time>` to exporters.{key}"
            + (" and the others" if len(silent) > 1 else "")
            + _renamed(known - exporters.keys())
        )
    return {name: _position(connection, exporter.config.start) for name, exporter in exporters.items()}


def _renamed(unused: set[str]) -> str:
    if not unused:
        return ""
    names = ", ".join(repr(name) for name in sorted(unused))
    return f"; cursors that no exporter uses: {names} - was it renamed?"


def _has_records(connection: apsw.Connection) -> bool:
    """
    Retention may have dropped the frames: then the first that is left does not have number 1.
    """
    query = "SELECT EXISTS (SELECT 1 FROM frame WHERE records > 0) OR coalesce((SELECT min(seq) FROM frame), 1) > 1"
    return bool(connection.execute(query).get)


def _position(connection: apsw.Connection, start: str | None) -> Position:
    wanted = start_instant(start or "beginning")
    if wanted == "beginning":
        return BEGINNING
    newest = connection.execute("SELECT coalesce(max(seq), 0) FROM frame").get
    if wanted == "now":
        return Position(newest + 1, 0)
    found = connection.execute("SELECT min(seq) FROM frame WHERE committed_at >= ?", (wanted,)).get
    return Position(newest + 1 if found is None else found, 0)
