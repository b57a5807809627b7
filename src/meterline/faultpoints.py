"""
Named places at which a test may kill this process.

``METERLINE_FAULTPOINT=name:n`` sends SIGKILL at the n-th time the place is reached. Unset, as in production,
``reached`` is an empty function. ``NAMES`` is the whole list: each stands between two steps of which a crash must
not leave one without the other. The kill rounds (``meterline.testing.kill``) use them, and count how often each
killed.
"""

import os
import signal
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "METERLINE_FAULTPOINT"

NAMES: Final = frozenset(
    {
        "intake.before_commit",  # applied and sealed in memory, nothing of it in the ledger
        "intake.after_commit",  # durable, but no sender has its answer
        "snapshot.before_commit",  # chunks written inside the open transaction
        "snapshot.after_commit",  # one step of several is durable
        "delivery.before_form",  # records read, no batch row yet
        "delivery.after_form",  # the batch row is durable, nothing was sent
        "delivery.before_settle",  # sent, the receipt is not durable
        "delivery.after_settle",  # the receipt is durable, the exporter has not been told
        "file.before_fsync",  # a batch is written past the checkpoint, none of it is synced
    }
)


def _disarmed(_name: str) -> None:
    pass


class _Trigger:
    """
    Counts down to the one place that was asked for. Threads may race past it: then the kill comes just after the
    n-th time.
    """

    def __init__(self, spec: str) -> None:
        name, _, count = spec.partition(":")
        if name not in NAMES:
            raise ValueError(f"reading {VARIABLE}={spec!r}: no such place; one of {', '.join(sorted(NAMES))}")
        self._name = name
        self._left = int(count or "1")

    def __call__(self, name: str) -> None:
        if name != self._name:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def armed(spec: str) -> Callable[[str], None]:
    """
    Return the function for this value of the variable; "" gives one that does nothing.

    :raises ValueError: there is no place of that name.
    """
    return _Trigger(spec) if spec else _disarmed


reached: Final = armed(os.environ.get(VARIABLE, ""))
"""Call it as ``faultpoints.reached("intake.before_commit")`` where the name's comment says."""
