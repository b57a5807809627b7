"""
Fault points: silent unless asked for, deadly at the place and count that was asked for.
"""

import os
import signal
import subprocess
import sys

import pytest

from meterline import faultpoints


def test_unset_does_nothing() -> None:
    """
    Without the variable every place is an empty function.
    """
    reached = faultpoints.armed("")
    assert [reached(name) for name in faultpoints.NAMES] == [None] * len(faultpoints.NAMES)


def test_unknown_name_is_refused() -> None:
    """
    A misspelt place is an error that names the places there are, not a test that kills nothing.
    """
    with pytest.raises(ValueError, match=r"no such place; one of .*file\.before_fsync"):
        faultpoints.armed("file.befor_fsync:1")


def test_kills_at_the_nth_time() -> None:
    """
    The process dies of SIGKILL at the third time, having passed the place twice and another place freely.
    """
    code = (
        "from meterline import faultpoints as f\n"
        "for i in range(9):\n"
        "    print(i, flush=True)\n"
        "    f.reached('intake.after_commit')\n"
        "    f.reached('file.before_fsync')\n"
    )
    environment = {**os.environ, faultpoints.VARIABLE: "file.before_fsync:3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["0", "1", "2"])
