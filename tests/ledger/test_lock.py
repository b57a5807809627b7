"""
One owner, and files that nobody else may read.
"""

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from meterline.errors import ConfigurationError, LedgerLockedError
from meterline.ledger import Ledger
from meterline.ledger.model import LedgerOptions

HOLDER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from meterline.clock import SystemClock
    from meterline.ledger import Ledger
    from meterline.ledger.model import LedgerOptions

    Ledger.open(Path(sys.argv[1]), LedgerOptions(reserve_bytes=0), SystemClock())
    print("open", flush=True)
    sys.stdin.read()
    """
)


def test_the_holder_is_named(open_ledger: Any, path: Path) -> None:
    """While another process owns the ledger, opening it names that process and when it started; a kill frees it at once."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(LedgerLockedError, match=rf"process {holder.pid}, started 20\d\d-.*stop that one first"):
            open_ledger()
        holder.send_signal(signal.SIGKILL)
        holder.wait(20)
    assert open_ledger().id


def test_files_are_private(open_ledger: Any, make: Any, path: Path) -> None:
    """The ledger, its log, its lock and its reserve may be read by their owner alone, whatever the umask."""
    before = os.umask(0)
    try:
        ledger = open_ledger(reserve_bytes=8192)
        ledger.commit(make.group(1))
    finally:
        os.umask(before)
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    assert set(modes) >= {"meterline.db", "meterline.db-wal", "meterline.db.lock", "meterline.db.reserve"}
    assert set(modes.values()) == {"0o600"}


def test_an_id_for_life(open_ledger: Any, path: Path) -> None:
    """A ledger has 16 random bytes as its id, the same at every opening."""
    ledger = open_ledger()
    ledger.close()
    assert re.fullmatch(r"[0-9a-f]{32}", ledger.id)
    assert open_ledger().id == ledger.id


def test_no_directory(tmp_path: Path, clock: Any) -> None:
    """A directory that does not exist is named, with what to do."""
    with pytest.raises(ConfigurationError, match=r"no/such' does not exist; create it or change ledger\.path"):
        Ledger.open(tmp_path / "no" / "such" / "m.db", LedgerOptions(), clock)


def test_a_directory_is_no_ledger(open_ledger: Any, path: Path) -> None:
    """A directory in the ledger's place is named, with what to do."""
    path.mkdir()
    with pytest.raises(ConfigurationError, match=r"it is a directory; set ledger\.path to a file"):
        open_ledger()


def test_a_failed_opening_frees_the_lock(open_ledger: Any, path: Path) -> None:
    """After an opening that failed, the next one is not locked out."""
    path.write_bytes(b"no database" * 500)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="it is no SQLite file"):
            open_ledger()
    path.unlink()
    assert open_ledger().id
