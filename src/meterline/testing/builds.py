"""
Building what tests need of others: once, by one process at a time, kept under ``${XDG_CACHE_HOME:-~/.cache}/meterline/peers``.
"""

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

BUILD_SECS: Final = 1800


def cache() -> Path:
    """
    Return the folder of build results; it is made if need be.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "meterline" / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def alone(name: str) -> Iterator[None]:
    """
    Let one process at a time build a peer; the others wait and find it done.
    """
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def built(name: str, product: str, build: Callable[[Path], None]) -> Path:
    """
    Return the path of a product in the folder ``name`` of the cache; where it is not there, ``build`` makes it in that folder.
    """
    folder = cache() / name
    with alone(name):
        if not (folder / product).exists():
            folder.mkdir(exist_ok=True)
            _patiently(build, folder)
    assert (folder / product).exists(), f"building {name}: {folder / product} was not made"
    return folder / product


def _patiently(build: Callable[[Path], None], folder: Path) -> None:
    """
    Build; once more when it fails, since a package registry that did not answer may do so the next time.
    """
    try:
        build(folder)
    except AssertionError as error:
        print(f"{error}\nbuilding again")  # noqa: T201 - shown by pytest if the second time fails, too
        build(folder)


def run_checked(command: list[str], folder: Path, **env: str) -> None:
    """
    Run a build step in a folder; raises AssertionError with the end of its output when it fails.
    """
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **env},
        start_new_session=True,
    ) as step:
        try:
            output, _ = step.communicate(timeout=BUILD_SECS)
        except (
            BaseException
        ):  # a test's timeout, too: compilers that go on would take the processors from the next tests
            os.killpg(step.pid, signal.SIGKILL)
            raise
    assert step.returncode == 0, f"running {' '.join(command)}: exit {step.returncode}\n{output[-4000:]}"
