"""
The gateway of the demo: a real ``meterline run`` in a process of its own.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from meterline.errors import MeterlineError

START_SECS = 30.0
STOP_SECS = 30.0
READY = "ready"  # the line that `meterline run` prints last when it is up


class GatewayProcess:
    """
    A child that runs a config; its addresses are read from what it prints, its log goes to a file.
    """

    def __init__(self, config: Path, log: Path) -> None:
        self._config = config
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._listening: dict[str, str] = {}
        self._ready = threading.Event()

    def start(self) -> Mapping[str, str]:
        """
        Start it, and return its addresses by ``PART PROTOCOL`` once it accepts.

        :raises MeterlineError: it ended, or said nothing for a long time; the message has the end of its log.
        """
        command = [sys.executable, "-m", "meterline", "run", str(self._config)]
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        threading.Thread(target=self._read, name="demo-gateway", daemon=True).start()
        if not self._ready.wait(START_SECS) or self._process.poll() is not None:
            self.stop()
            raise MeterlineError(f"starting the gateway: it did not come up; its log says:\n{self._tail()}")
        return self._listening

    def _read(self) -> None:
        assert self._process is not None  # noqa: S101 - started just before
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        for line in self._process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "listening":
                place, _, address = rest.rpartition(" ")
                self._listening[place] = address
            if word == READY:
                self._ready.set()
        self._ready.set()

    def stop(self) -> int:
        """
        Ask for a graceful stop, wait for it, and return the exit code. A child that does not stop is killed.
        """
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-20:])
