"""
Each line of each file is stored once, through refusals, restarts, rotations and cuts.
"""

import gzip
import random
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from meterline.testing.file_bench import FileBench, line, names
from meterline.testing.process import wait_until
from meterline.testing.scripted_intake import Script, ScriptedIntake

SECS = 15.0


@pytest.fixture
def bench(tmp_path: Path, rng: random.Random) -> FileBench:
    """A folder of files and what was remembered of it."""
    return FileBench(tmp_path, rng)


def test_a_restart_goes_on_where_it_was(bench: FileBench, tmp_path: Path) -> None:
    """Lines stored before a stop are not stored again; an unfinished last line waits for its end."""
    path = tmp_path / "a.log"
    path.write_bytes(line("1") + line("2")[:-5])
    bench.run("1")
    path.write_bytes(line("1") + line("2") + line("3"))
    bench.run("1", "2", "3")
    bench.run("1", "2", "3")


def test_equal_lines_both_count(bench: FileBench, tmp_path: Path) -> None:
    """Two lines that say the same are two events, each with the id of its place."""
    (tmp_path / "a.log").write_bytes(line("1") * 2)
    bench.run("1", "1")


def test_rotation_in_all_its_forms(bench: FileBench, tmp_path: Path) -> None:
    """A file that is renamed, then compressed, is the same; one that is cut and written anew is another."""
    path = tmp_path / "a.log"
    old = [str(number) for number in range(100)]
    path.write_bytes(b"".join(map(line, old)))
    bench.run(*old)
    path.rename(tmp_path / "a.log.1")
    path.write_bytes(line("new"))
    bench.run(*old, "new")
    (tmp_path / "a.log.1.gz").write_bytes(gzip.compress((tmp_path / "a.log.1").read_bytes() + line("late")))
    (tmp_path / "a.log.1").unlink()
    bench.run(*old, "new", "late")
    path.write_bytes(line("cut"))
    bench.run(*old, "new", "late", "cut")


def test_once_reads_to_the_end_and_says_so(bench: FileBench, tmp_path: Path) -> None:
    """Reading once takes the last line without a newline too, says that it is done, and goes on there the next time."""
    path = tmp_path / "a.log"
    path.write_bytes(line("1") + line("2")[:-1])
    intake = ScriptedIntake(names, Script(), bench.rng)
    with capture_logs() as logs:
        receiver = bench.receiver(intake, {"read": "once"})
        receiver.start()
        wait_until(
            lambda: [entry for entry in logs if entry["event"] == "files are read to their end"], SECS, "the end"
        )
        receiver.stop(SECS)
    intake.close()
    assert intake.books.stored == {"1": 1, "2": 1}
    said = [entry for entry in logs if entry["event"] == "files are read to their end"]
    assert [(entry["percent"], entry["lines"]) for entry in said] == [(100, 2)]
    bench.state, bench.stored = intake.state, intake.books.stored
    path.write_bytes(line("1") + line("2") + line("3"))
    bench.run("1", "2", "3", read="once")


def test_excluded_and_unreadable_files(bench: FileBench, tmp_path: Path) -> None:
    """Excluded files are not read; a broken one is named once and costs the others nothing."""
    (tmp_path / "a.log").write_bytes(line("1"))
    (tmp_path / "b.log").write_bytes(line("2"))
    (tmp_path / "c.log.gz").write_bytes(gzip.compress(line("3") * 1000)[:-9])
    with capture_logs() as logs:
        bench.run("1", exclude=["b.*"])
    broken = [entry for entry in logs if entry["event"].startswith("file cannot be read")]
    assert [Path(entry["path"]).name for entry in broken] == ["c.log.gz"] * len(broken)
    assert len(broken) <= 1


def test_a_broken_line_and_a_long_one_are_set_aside(bench: FileBench, tmp_path: Path) -> None:
    """What is no JSON, and what is too long, goes to quarantine with its beginning; its neighbours are stored."""
    (tmp_path / "a.log").write_bytes(line("1") + b"broken\n" + b"x" * 100_000 + b"\n" + line("2"))
    intake = ScriptedIntake(names, Script(), bench.rng)
    receiver = bench.receiver(intake, {"max_line_bytes": 1000})
    receiver.start()
    wait_until(lambda: sum(intake.books.stored.values()) >= 3, SECS, "the lines")
    receiver.stop(SECS)
    intake.close()
    rejects = [name for name in intake.books.stored if name.startswith("reject")]
    assert intake.books.stored["1"] == intake.books.stored["2"] == 1
    assert len(rejects) == 1
    assert "broken" in rejects[0]
    assert "longer than max_line_bytes" in rejects[0]
    assert len(rejects[0]) < 10_000


def test_refusals_repeat_only_what_is_not_stored(bench: FileBench, tmp_path: Path) -> None:
    """Under refusals at random every line is stored once, and the cursor never runs ahead."""
    names_ = [str(number) for number in range(500)]
    (tmp_path / "a.log").write_bytes(b"".join(map(line, names_)))
    bench.run(*names_, script=Script(stored=1, retry=1), batch_max_bytes=2000)


def test_random_life(bench: FileBench, tmp_path: Path) -> None:
    """Appends, rotations and restarts in any order: every line once."""
    wanted: list[str] = []
    rotated = 0
    for step in range(25):
        path = tmp_path / f"{bench.rng.randrange(3)}.log"
        made = [f"{step}.{number}" for number in range(bench.rng.randrange(1, 40))]
        if bench.rng.random() < 0.3 and path.exists():
            path.rename(tmp_path / f"{path.name}.{rotated}")
            rotated += 1
        with path.open("ab") as file:
            file.write(b"".join(map(line, made)))
        wanted += made
        if bench.rng.random() < 0.5:
            bench.run(*wanted, script=Script(stored=3, retry=1), batch_max_bytes=500)
    bench.run(*wanted)
