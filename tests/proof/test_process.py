"""
Child processes of the harness: found ready, killed by id, and never taken for ready when they have ended.
"""

import socket
import sys
from pathlib import Path

import pytest

from meterline.testing.process import Program, accepts, free_port, wait_until

SERVER = (
    "import socket, time\ns = socket.create_server(('127.0.0.1', {port}))\nprint('up', flush=True)\ntime.sleep(60)\n"
)


def program(tmp_path: Path, code: str, *ports: int) -> Program:
    """
    Return a Python program of these lines.
    """
    return Program([sys.executable, "-c", code], tmp_path / "out.log", ports=ports)


def test_ready_when_the_port_accepts_and_gone_when_killed(tmp_path: Path) -> None:
    """
    A start returns when the port accepts; a kill ends the process, and a second start appends to the same log.
    """
    port = free_port()
    with program(tmp_path, SERVER.format(port=port), port) as server:
        server.start()
        assert accepts(port)
        server.kill()
        assert (server.alive, server.returncode, accepts(port)) == (False, -9, False)
        server.start()
        assert server.output().count("up") == 2
    assert not server.alive


def test_a_program_that_ends_is_not_ready(tmp_path: Path) -> None:
    """
    A start that fails says how, with what was printed, and does not wait for the timeout.
    """
    broken = program(tmp_path, "print('no such luck'); raise SystemExit(3)", free_port())
    with broken, pytest.raises(AssertionError, match=r"exit 3\nno such luck"):
        broken.start(ready_secs=30)


def test_sigterm_gives_the_exit_code(tmp_path: Path) -> None:
    """
    Terminate sends SIGTERM and returns how the program ended.
    """
    code = (
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(5))\nprint('up', flush=True)\ntime.sleep(60)\n"
    )
    with program(tmp_path, code) as polite:
        polite.start()
        wait_until(lambda: "up" in polite.output(), 10, "the program to be up")
        assert polite.terminate() == 5


def test_free_ports_are_free() -> None:
    """
    A free port can be bound, and is none that the kernel hands out for outgoing connections.
    """
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert accepts(port)
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert port < low


def test_waiting_in_vain_says_for_what() -> None:
    """
    A condition that never holds ends in an error that names it.
    """
    with pytest.raises(TimeoutError, match=r"waiting for rain: not within 0\.05 s"):
        wait_until(lambda: False, 0.05, "rain")
