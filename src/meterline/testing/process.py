"""
Child processes of tests: a real gateway or a foreign program, started on free ports, killed by process id, never
left behind.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from meterline.faultpoints import VARIABLE

_PORTS = range(21_000, 32_000)  # below the range the kernel takes ports for outgoing connections from
_given: set[int] = set()


def free_port() -> int:
    """
    Return a TCP port of 127.0.0.1 that nobody listens on, and that no outgoing connection will take meanwhile; no port twice,
    since whoever asked first may not listen on it yet.
    """
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def wait_until(condition: Callable[[], object], timeout_secs: float, what: str, every_secs: float = 0.01) -> None:
    """
    Poll until the condition is true. Raises TimeoutError that says what did not happen.
    """
    deadline = time.monotonic() + timeout_secs
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waiting for {what}: not within {timeout_secs:g} s")
        time.sleep(every_secs)


def accepts(port: int) -> bool:
    """
    Say whether somebody listens on this port of 127.0.0.1.
    """
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """
    A program with its output in a file; ready when all its ports accept. Leaving the block kills it.
    """

    def __init__(
        self, command: Sequence[str], log: Path, *, ports: Sequence[int] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self.log = log
        self.ports = list(ports)
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, env: Mapping[str, str] | None = None, *, ready_secs: float | None = 30.0) -> None:
        """
        Start it, and wait until it is ready; None: do not wait. Raises AssertionError, with its output, if it ends
        before.
        """
        assert not self.alive, f"{self.command[0]} runs already"
        environment = {**os.environ, **self._env, **(env or {})}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
        if ready_secs is not None:
            self.wait_ready(ready_secs)

    def wait_ready(self, timeout_secs: float = 30.0) -> None:
        """
        Wait until all ports accept.
        """
        wait_until(self._is_ready, timeout_secs, f"{self.command[0]} to be ready")

    def _is_ready(self) -> bool:
        if not self.alive:
            raise AssertionError(f"starting {' '.join(self.command)}: exit {self.returncode}\n{self.output()[-4000:]}")
        return all(accepts(port) for port in self.ports)

    @property
    def pid(self) -> int:
        """
        Return the process id of the last start.
        """
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """
        Say whether it runs.
        """
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """
        Return how the last run ended; None while it runs, or before the first.
        """
        return None if self._process is None else self._process.poll()

    def output(self) -> str:
        """
        Return what all runs have printed.
        """
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """
        Send SIGKILL and wait for the end; legal when it does not run.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def terminate(self, timeout_secs: float = 30.0) -> int:
        """
        Send SIGTERM, wait for the end, return the exit code.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_secs)

    def wait(self, timeout_secs: float) -> bool:
        """
        Say whether it ended within the time.
        """
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_secs)
        return not self.alive


class GatewayProcess(Program):
    """
    A real ``meterline run`` of one config file, in its folder; killed and started again at will.
    """

    def __init__(self, config: Path, ports: Sequence[int], *, wrapper: Sequence[str] = ("-m", "meterline")) -> None:
        command = [sys.executable, *wrapper, "run", str(config)]
        super().__init__(command, config.with_suffix(".log"), ports=ports)
        self.config = config

    def start_armed(self, faultpoint: str) -> None:
        """
        Start it so that it kills itself there; does not wait until it is ready.
        """
        self.start({VARIABLE: faultpoint}, ready_secs=None)

    def ask(self, *arguments: str, timeout_secs: float = 60.0) -> subprocess.CompletedProcess[str]:
        """
        Run another command of the program on the same config, which goes before the options: ``ask("totals",
        "--json")``.
        """
        names = [argument for argument in arguments if not argument.startswith("-")]
        options = arguments[len(names) :]
        command = [sys.executable, "-m", "meterline", *names, str(self.config), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_secs, check=False)
