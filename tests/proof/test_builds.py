"""
How peers are built: nothing goes on after its test's time is over, and a registry may fail once.
"""

import os
import subprocess
from pathlib import Path

import pytest

from meterline.testing import builds
from meterline.testing.process import wait_until


def runs(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_a_build_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that takes too long is ended with the compilers that it started."""
    monkeypatch.setattr(builds, "BUILD_SECS", 0.5)
    with pytest.raises(subprocess.TimeoutExpired):
        builds.run_checked(["bash", "-c", "sleep 600 & echo $! > pid; wait"], tmp_path)
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    wait_until(lambda: not runs(pid), 10, "the end of a build's child")


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_build_may_fail_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    """Once is a registry that did not answer; twice is a defect, with the build's own words."""
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(tmp_path))
    left = [["false"]] * failures

    def build(folder: Path) -> None:
        builds.run_checked(left.pop() if left else ["touch", "product"], folder)

    if failures < 2:
        assert builds.built("peer", "product", build).exists()
    else:
        with pytest.raises(AssertionError, match="running false: exit 1"):
            builds.built("peer", "product", build)
