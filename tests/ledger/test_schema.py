"""
The schema, its version, its way up, and its documentation.
"""

import gzip
import re
from pathlib import Path
from typing import Any

import apsw
import pytest

from meterline.errors import CorruptLedgerError
from meterline.kernel.seam import TotalRow
from meterline.ledger import open_reader, schema

FIXTURES = Path(__file__).parent / "fixtures"


def real_tables() -> dict[str, list[tuple[str, str]]]:
    """Table -> its columns and types, of a new ledger."""
    connection = apsw.Connection(":memory:")
    schema.create(connection)
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    columns = "SELECT name, type FROM pragma_table_info(?)"
    return {name: connection.execute(columns, (name,)).fetchall() for (name,) in names}


def test_the_docs_have_every_table_and_column(root: Path) -> None:
    """docs/ledger.md names every table with its columns and types, in their order, and no others."""
    sections = re.split(r"^### ", (root / "docs" / "ledger.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    rows = {
        section.split("\n", 1)[0]: re.findall(r"^\| (\w+) \| ([A-Z]+) \|", section, re.MULTILINE)
        for section in sections
    }
    assert rows == real_tables()


def test_all_tables_are_strict() -> None:
    """SQLite itself refuses a value of another type than the documented one."""
    connection = apsw.Connection(":memory:")
    schema.create(connection)
    loose = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT strict AND name NOT LIKE 'sqlite_%'"
    assert connection.execute(loose).fetchall() == []


@pytest.mark.parametrize("version", range(1, schema.SCHEMA_VERSION + 1))
def test_every_version_is_read_for_ever(open_ledger: Any, make: Any, path: Path, version: int) -> None:
    """A ledger that an older schema version wrote is brought up to date with everything in it, and goes on."""
    path.write_bytes(gzip.decompress((FIXTURES / f"v{version}.db.gz").read_bytes()))
    ledger = open_ledger()
    assert ledger.remembered("files") == ({"cursor": b"12"} if version > 1 else {})
    assert ledger.id == "00112233445566778899aabbccddeeff"
    assert ledger.activate_rules("hash", [], "rules: []").gen == 1
    state = ledger.stored_state()
    assert [chunk.body for chunk in state.chunks] == [b"chunk"]
    assert [frame.body for frame in state.frames] == [b"second " * 50]
    assert (list(state.open_raw), state.idle, state.next_meter, state.last_seq) == ([b"k" * 16], 1, 2, 2)
    assert ledger.idle_rows([b"i" * 16]) == [b"row"]
    ledger.catch_up_totals(lambda frame, names: [TotalRow("acme", "calls", 0, 5 * 10**29, 1)])
    ledger.commit(make.group(3))
    with open_reader(path) as reader:
        assert reader.connection.pragma("user_version") == schema.SCHEMA_VERSION
        assert [(str(row.value), row.count) for row in reader.totals(lambda frame, names: [])] == [("1.75", 2)]
        assert [(row.reason, row.count, row.quantity) for row in reader.quarantine()] == [
            ("bad_utf8", 1, None),
            ("overlap", 1, "3"),
        ]
        assert reader.connection.execute("SELECT name, cursor_seq FROM exporter").fetchall() == [("file", 2)]


def test_a_migration_is_whole_or_not_at_all(open_ledger: Any, make: Any, path: Path, contents: Any) -> None:
    """A step of the way up that fails leaves the ledger at its old version, untouched; one that passes keeps what is in it."""
    ledger = open_ledger()
    ledger.commit(make.group(1))
    ledger.close()
    before = contents()

    def good(connection: apsw.Connection) -> None:
        connection.execute("ALTER TABLE meta ADD COLUMN note TEXT")

    def bad(connection: apsw.Connection) -> None:
        connection.execute("DELETE FROM frame")
        raise ZeroDivisionError

    connection = apsw.Connection(str(path))
    with pytest.raises(ZeroDivisionError):
        schema.migrate(connection, {2: good, 3: bad}, target=4)
    assert (connection.pragma("user_version"), contents()) == (2, before)
    schema.migrate(connection, {2: good}, target=3)
    assert connection.pragma("user_version") == 3
    assert contents()["frame"] == before["frame"]
    connection.close()


def test_an_altered_table_is_noticed(open_ledger: Any, path: Path) -> None:
    """A table that was altered by hand stops the start, and is named; an index or view that a person added does not."""
    ledger = open_ledger()
    ledger._connection.execute("CREATE VIEW mine AS SELECT * FROM total; CREATE INDEX fast ON total (customer)")
    ledger.close()
    ledger = open_ledger()
    ledger._connection.execute("ALTER TABLE total ADD COLUMN note TEXT")
    ledger.close()
    with pytest.raises(CorruptLedgerError, match="'total' is not as schema version 2 has it"):
        open_ledger()
