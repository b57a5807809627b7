"""
Kill rounds: nothing lost, doubled or invented, however often the gateway is killed; and the harness sees planted bugs.
"""

import random
from pathlib import Path

import pytest

from meterline.testing.kill import TRIGGERS, Plan, Report, run

SENTINEL_PLACES = {"intake.after_commit": 1, "snapshot.after_commit": 1, "file.before_fsync": 1, "": 2}


def kill(seed: int, folder: Path, rounds: int, **options: object) -> Report:
    """
    Run, and print what happened: the seed repeats the run.
    """
    report = run(Plan(seed, rounds, **options), folder)  # type: ignore[arg-type]
    print(report)  # noqa: T201 - shown when the test fails
    return report


@pytest.mark.timeout(120)
def test_a_few_rounds(tmp_path: Path, rng: random.Random) -> None:
    """
    Five kills at places that matter: every exporter ends with exactly what the senders had answered.
    """
    report = kill(rng.randrange(10**6), tmp_path, 5, triggers=SENTINEL_PLACES)
    assert report.passed, str(report)
    assert len(report.verdicts) == 6
    assert all(verdict.ok > 0 for verdict in report.verdicts)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_rounds(tmp_path: Path, rng: random.Random) -> None:
    """
    A hundred kills, and proof that they were no walk in the park: each kind of trouble has happened often enough.
    """
    report = kill(rng.randrange(10**6), tmp_path, 100)
    assert report.passed, str(report)
    assert report.rounds == 100
    assert report.unanswered_kills >= 50
    assert report.replays >= 10
    assert report.tails_cut >= 10
    assert report.snapshot_kills >= 10
    assert set(report.kills) == set(TRIGGERS)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("bug", "triggers"),
    [
        ("answer_early", {"intake.before_commit": 1}),
        ("settle_early", {"delivery.after_form": 1, "delivery.before_settle": 1}),
        ("no_rollback", {"": 1}),
    ],
)
def test_planted_bug_is_caught(tmp_path: Path, rng: random.Random, bug: str, triggers: dict[str, int]) -> None:
    """
    A gateway with this bug inside fails the verdict, or its own books, within a few rounds.
    """
    changes = ("snapshot_points=100", "failing_commits=4", bug)
    report = kill(rng.randrange(10**6), tmp_path, 6, triggers=triggers, changes=changes)
    assert not report.passed
    assert any(verdict.lost for verdict in report.verdicts) or report.failures


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_failing_commits_lose_nothing(tmp_path: Path, rng: random.Random) -> None:
    """
    The same failing commits without a bug: what the planted ones are caught by is not the failures themselves.
    """
    report = kill(rng.randrange(10**6), tmp_path, 6, changes=("snapshot_points=100", "failing_commits=4"))
    assert report.passed, str(report)
