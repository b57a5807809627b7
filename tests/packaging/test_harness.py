"""
What tests/conftest.py does for every test: no silent skips in CI, no threads left behind, the seed in the header.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)  # each starts a pytest of its own

SKIPS = "import pytest\ndef test_it():\n    pytest.skip('no reason')\n"
SKIPS_WHOLE = "import pytest\npytest.skip('no reason', allow_module_level=True)\n"
XFAILS = "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_it():\n    assert False\n"
LEAKS = """\
import threading
def test_it(request):
    stop = threading.Event()
    threading.Thread(target=stop.wait, args=(7,)).start()
"""


def outcome(folder: Path, root: Path, text: str, **env: str) -> tuple[int, str]:
    """
    Run one test file under the project's conftest; return exit code and output.
    """
    shutil.copy(root / "tests" / "conftest.py", folder)
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("METERLINE_", "PYTEST_"))}
    done = subprocess.run(
        command, cwd=folder, env={**inherited, **env}, capture_output=True, text=True, timeout=170, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("text", [SKIPS, SKIPS_WHOLE])
def test_a_skip_fails_where_nothing_may_be_skipped(root: Path, tmp_path: Path, text: str) -> None:
    """With METERLINE_NO_SKIP=1 a skip fails and says so; without, it is a skip."""
    strict, words = outcome(tmp_path, root, text, METERLINE_NO_SKIP="1")
    lenient, _ = outcome(tmp_path, root, text)

    assert strict in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}
    assert "METERLINE_NO_SKIP=1 says that nothing may be" in words
    assert lenient in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}


def test_an_expected_failure_is_no_skip(root: Path, tmp_path: Path) -> None:
    """A strict xfail is a stated gap, not a skip."""
    assert outcome(tmp_path, root, XFAILS, METERLINE_NO_SKIP="1")[0] == pytest.ExitCode.OK


def test_a_thread_left_behind_fails(root: Path, tmp_path: Path) -> None:
    """A test that leaves a thread running fails, and the thread is named."""
    code, words = outcome(tmp_path, root, LEAKS, METERLINE_PATIENCE_SECS="0.5")

    assert code == pytest.ExitCode.TESTS_FAILED
    assert "threads left running" in words


def test_the_header_names_kernel_and_seed(root: Path, tmp_path: Path) -> None:
    """Which kernel is tested and which seed repeats the run stand in the header."""
    _, words = outcome(tmp_path, root, XFAILS, METERLINE_SEED="42")

    assert "kernel: python" in words
    assert "seed: 42" in words
