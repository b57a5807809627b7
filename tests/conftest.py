"""
What all tests share: the header, one printed seed, no silent skips in CI, no threads left behind.
"""

import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
KITS = ROOT / "src" / "meterline" / "testing"
NO_SKIP = os.environ.get("METERLINE_NO_SKIP") == "1"
PATIENCE_SECS = float(os.environ.get("METERLINE_PATIENCE_SECS") or 20)
"""How long what a test has started may take to end."""
SEED = int(os.environ.get("METERLINE_SEED") or random.SystemRandom().randrange(2**32))

# Machines in CI are shared: a deadline per example, or a time to draw it in, measures the neighbours.
hypothesis.settings.register_profile(
    "meterline", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("meterline")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """
    Let hypothesis draw from the run's seed too, so that one number repeats all.
    """
    if config.pluginmanager.hasplugin("hypothesispytest") and not config.getoption("--hypothesis-seed"):
        config.option.hypothesis_seed = str(SEED)


def pytest_report_header() -> list[str]:
    """
    Print which kernel is tested, and the seed that repeats this run.
    """
    return [f"kernel: {_kernel()}", f"seed: {SEED} (METERLINE_SEED={SEED} repeats it)"]


def _kernel() -> str:
    try:
        from meterline.kernel import load_kernel  # noqa: PLC0415 - a broken kernel must not hide the header
    except ImportError as error:
        return f"does not load: {error}"
    return load_kernel().implementation


def pytest_collection_finish() -> None:
    """
    Take what collecting made, which lives as long as the run, out of every later search for garbage.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """
    Return the top of the repository.
    """
    return ROOT


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Add the switch that rewrites golden files.
    """
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """
    Compare a text with the file of this name in ``golden/`` beside the test; with --update-golden, write it.
    """

    def compare(name: str, text: str) -> None:
        path = request.path.parent / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{path} differs; if it should, run with --update-golden"

    return compare


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """
    Return a random source of this test's own, the same whenever the run's seed is the same.
    """
    return random.Random(f"{SEED}:{request.node.nodeid}")


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    """
    Fail a test that leaves a non-daemon thread running: such a thread would hold up the end of a process.
    """
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + PATIENCE_SECS
    while (left := _started_since(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"threads left running: {[thread.name for thread in left]}"


def _started_since(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]


@pytest.fixture
def no_files_left() -> Iterator[None]:
    """
    Fail a test that leaves file descriptors open; asked for by tests that start and stop whole parts.
    """
    before = _open_files()
    yield
    deadline = time.monotonic() + PATIENCE_SECS
    while _open_files() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _open_files() <= before


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """
    Turn a skip into a failure where METERLINE_NO_SKIP=1.
    """
    report = yield
    return _unskipped(report, item.nodeid) if NO_SKIP and not hasattr(report, "wasxfail") else report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """
    The same for a whole module that skips itself.
    """
    report = yield
    return _unskipped(report, collector.nodeid) if NO_SKIP else report


def _unskipped(report: pytest.TestReport, name: str) -> pytest.TestReport:
    if report.outcome == "skipped" and not _declared(report):
        report.outcome = "failed"
        report.longrepr = f"{name} was skipped, and METERLINE_NO_SKIP=1 says that nothing may be: {report.longrepr}"
    return report


def _declared(report: pytest.TestReport) -> bool:
    """
    Say whether a contract kit skipped: a backend declared, with a reason, that it cannot have this fault.
    """
    return isinstance(report.longrepr, tuple) and KITS in Path(report.longrepr[0]).parents
