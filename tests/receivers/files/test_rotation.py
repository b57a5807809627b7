"""
Files that are cut, copied, compressed, replaced and removed while they are read: each line is stored once.
"""

import gzip
import os
import random
import shutil
from pathlib import Path

import pytest
import zstandard
from structlog.testing import capture_logs

from meterline.api import Answer, Status
from meterline.receivers.files import reader
from meterline.testing.file_bench import FileBench, line
from meterline.testing.scripted_intake import Script


@pytest.fixture
def bench(tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> FileBench:
    """A folder of files and what was remembered of it; however slow the machine is, a copy has time to prove one."""
    monkeypatch.setattr(reader, "_SETTLE_SECS", 10**9)
    return FileBench(tmp_path, rng)


class Nothing(Script):
    """Takes what says nothing but how far reading has come; refuses all else for now."""

    def decide(self, rng: random.Random, points: int) -> Answer:
        return Answer(Status.RETRY, retry_after_secs=0.01) if points else Answer(Status.STORED)


def append(path: Path, *names: str, wide: int = 0) -> None:
    """Write lines at the end; ``wide``: each begins with as many bytes that are the same in all."""
    with path.open("ab") as file:
        for name in names:
            file.write(line(name).replace(b"{", b'{"resource": "' + b"x" * wide + b'", ', 1) if wide else line(name))


def copytruncate(path: Path, copy: Path) -> None:
    """Rotate as logrotate does with copytruncate."""
    shutil.copyfile(path, copy)
    os.truncate(path, 0)


@pytest.mark.parametrize("wide", [0, 2000])
@pytest.mark.parametrize("running", [True, False])
def test_copytruncate(bench: FileBench, tmp_path: Path, wide: int, running: bool) -> None:  # noqa: FBT001
    """A file that is copied and cut is the same in its copy, and another where it was, short or long, in one life or two."""
    path = tmp_path / "a.log"
    append(path, "1", "2", wide=wide)
    with bench.life() as life:
        life.expect(["1", "2"])
        if running:
            copytruncate(path, tmp_path / "a.log.1")
            append(path, "3", wide=wide)
            life.expect(["1", "2", "3"])
    if not running:
        append(path, "late", wide=wide)
        copytruncate(path, tmp_path / "a.log.1")
        append(path, "3", wide=wide)
        bench.run("1", "2", "late", "3")
    else:
        bench.run("1", "2", "3")


def test_a_copy_that_is_under_way(bench: FileBench, tmp_path: Path) -> None:
    """A copy that grows beside the file it is made of, and is there before that one is cut, counts nothing twice."""
    path, copy = tmp_path / "a.log", tmp_path / "a.log.1"
    names = [str(number) for number in range(100)]
    append(path, *names)
    content = path.read_bytes()
    with bench.life() as life:
        life.expect(names)
        for size in range(0, len(content) + 1, 1000):
            copy.write_bytes(content[:size])
            life.settle()
        copy.write_bytes(content)
        life.settle()
        os.truncate(path, 0)
        append(path, "new")
        life.expect([*names, "new"])
        append(copy, "late")
        life.expect([*names, "new", "late"])


def test_lines_that_begin_with_the_same_long_description(bench: FileBench, tmp_path: Path) -> None:
    """Files whose first lines are alike for longer than a file is known by are told apart, whatever their order and size."""
    wanted: list[str] = []
    for round_ in range(6):
        made = [f"{round_}.{number}" for number in range(1 + round_ % 3)]
        append(tmp_path / "a.log", *made, wide=3000)
        wanted += made
        bench.run(*wanted)
        (tmp_path / "a.log").rename(tmp_path / f"a-{9 - round_}.log")
    bench.run(*wanted)


def test_a_short_file_that_is_compressed(bench: FileBench, tmp_path: Path) -> None:
    """A short file and its compressed copy beside it are one, once the file goes away; one that comes back is none."""
    path = tmp_path / "a.log"
    append(path, "1")
    with bench.life() as life:
        life.expect(["1"])
        (tmp_path / "a.log.1.gz").write_bytes(gzip.compress(path.read_bytes()))
        life.settle()
        path.unlink()
        life.expect(["1"])
    bench.run("1")


def test_two_short_files_that_say_the_same_are_two(
    bench: FileBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short file that says what another one said, and stays beside it, is one of its own after a while."""
    monkeypatch.setattr(reader, "_SETTLE_SECS", 0.2)
    append(tmp_path / "a.log", "1")
    append(tmp_path / "b.log", "1")
    bench.run("1", "1")
    bench.run("1", "1")


def test_a_file_that_is_replaced_by_another_of_its_size(bench: FileBench, tmp_path: Path) -> None:
    """What was read once is read again when its file holds something else, of the same size and on the same inode."""
    path = tmp_path / "a.log"
    append(path, *(f"a{number}" for number in range(100)))
    first = [f"a{number}" for number in range(100)]
    bench.run(*first, read="once")
    path.write_bytes(path.read_bytes().replace(b'"a', b'"b'))
    second = [f"b{number}" for number in range(100)]
    bench.run(*first, *second, read="once")
    packed = tmp_path / "c.log.zst"
    for letter in "cd":
        lines = b"".join(line(f"{letter}{number}") for number in range(100))
        packed.write_bytes(zstandard.compress(lines, 0 if letter == "c" else 1))
    bench.run(*first, *second, *(f"d{number}" for number in range(100)), read="once")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_compressed_file_that_grows_and_is_cut_off(bench: FileBench, tmp_path: Path, pack: type[bytes]) -> None:
    """Members or frames that are appended count as they are whole; one that is cut off waits for its end."""
    path = tmp_path / "a.log.x"
    names = [str(number) for number in range(300)]
    parts = [pack(b"".join(map(line, names[start : start + 100]))) for start in (0, 100, 200)]
    path.write_bytes(parts[0])
    with bench.life() as life:
        life.expect(names[:100])
        path.write_bytes(parts[0] + parts[1][:-20])
        life.settle()
        assert "199" not in life.stored
        path.write_bytes(parts[0] + parts[1])
        life.expect(names[:200])
    path.write_bytes(b"".join(parts))
    bench.run(*names)


def test_a_corrupt_file_costs_the_others_nothing(bench: FileBench, tmp_path: Path) -> None:
    """Broken compression, of whatever kind, is named with its file; those after it are read."""
    packed = bytearray(gzip.compress(b"".join(line(str(number)) for number in range(5000))))
    packed[200:250] = b"\xff" * 50
    (tmp_path / "a.log.gz").write_bytes(packed)
    append(tmp_path / "b.log", "b")
    with capture_logs() as logs, bench.life() as life:
        life.settle()
        life.settle()
        assert life.stored["b"] == 1
    broken = [Path(entry["path"]).name for entry in logs if entry["event"].startswith("file cannot be read")]
    assert broken == ["a.log.gz"]


def test_an_unexpected_error_costs_the_others_nothing(
    bench: FileBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that breaks the reader is named once; those after it are read."""
    source = reader.Source

    def opened(path: Path) -> reader.Source:
        if path.name == "a.log":
            raise ZeroDivisionError
        return source(path)

    monkeypatch.setattr(reader, "Source", opened)
    append(tmp_path / "a.log", "a")
    append(tmp_path / "b.log", "b")
    with capture_logs() as logs, bench.life() as life:
        life.settle()
        life.expect(["b"])
    assert [entry["error"] for entry in logs if entry["log_level"] == "error"] == ["an unexpected error"]


def test_files_that_go_away_and_come_back(bench: FileBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not there for a while, as a mount that is late, is read on; those gone longest are forgotten first."""
    monkeypatch.setattr(reader, "_MAX_ABSENT", 3)
    folder, away = tmp_path / "logs", tmp_path / "away"
    folder.mkdir()
    for number in range(3):
        append(folder / f"{number}.log", str(number))
    bench.run("0", "1", "2", include=["logs/*.log"])
    folder.rename(away)
    folder.mkdir()
    append(folder / "other.log", "other")
    bench.run("0", "1", "2", "other", include=["logs/*.log"])
    shutil.rmtree(folder)
    away.rename(folder)
    bench.run("0", "1", "2", "other", include=["logs/*.log"])
    assert len(bench.state) == 4
    monkeypatch.setattr(reader, "_MAX_ABSENT", 1)
    shutil.rmtree(folder)
    folder.mkdir()
    append(folder / "new.log", "new")
    with bench.life(include=["logs/*.log"]) as life:
        life.expect(["0", "1", "2", "other", "new"])
        append(folder / "new.log", "newer")
        life.expect(["0", "1", "2", "other", "new", "newer"])
    assert len(bench.state) == 2


def test_a_file_that_is_cut_while_it_is_read(bench: FileBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a file that was cut and written anew meanwhile is read again, as what it is now."""
    path = tmp_path / "a.log"
    append(path, *(f"old{number}" for number in range(50)))
    pieces, cut = reader.pieces, []

    def cut_meanwhile(*arguments: object, **options: object) -> object:
        found = list(pieces(*arguments, **options))  # type: ignore[arg-type]
        if not cut:
            cut.append(path.write_bytes(b"".join(line(f"new{number}") for number in range(60))))
        return iter(found)

    monkeypatch.setattr(reader, "pieces", cut_meanwhile)
    bench.run(*(f"new{number}" for number in range(60)))


def test_a_last_line_without_newline(bench: FileBench, tmp_path: Path) -> None:
    """A last line that is a whole object is stored though nothing ends it, and once when its newline comes."""
    path = tmp_path / "a.log"
    path.write_bytes(line("1") + line("2")[:-1])
    with bench.life() as life:
        life.expect(["1", "2"])
        with path.open("ab") as file:
            file.write(b"\n" + line("3")[:-2])
        life.settle()
        life.expect(["1", "2"])
        with path.open("ab") as file:
            file.write(line("3")[-2:])
        life.expect(["1", "2", "3"])


def test_a_batch_that_was_stored_in_part_comes_again_as_it_was(bench: FileBench, tmp_path: Path) -> None:
    """When a batch of several bodies was begun and never ended, its bodies come again byte by byte, whatever is appended."""
    path = tmp_path / "a.log"
    path.write_bytes(line("1") + b"broken\n" + line("2"))
    with bench.life(Nothing()) as life:
        life.wait_for_bodies(3)
    first = set(life.bodies) - {b""}
    append(path, "3")
    with bench.life() as life:
        life.wait_for_bodies(3)
    assert first <= set(life.bodies)
    assert len(first) == 1


def test_random_rotations(bench: FileBench, tmp_path: Path) -> None:
    """Appends, renames, copies that cut, compression and restarts in any order, files short and long: every line once."""
    wanted: list[str] = []
    for step in range(30):
        path = tmp_path / f"{bench.rng.randrange(2)}.log"
        made = [f"{step}.{number}" for number in range(bench.rng.choice([1, 3, 60]))]
        append(path, *made, wide=bench.rng.choice([0, 0, 2500]))
        wanted += made
        bench.run(*wanted, script=Script(stored=3, retry=1), batch_max_bytes=bench.rng.choice([500, 10**6]))
        _rotate(bench.rng, path, tmp_path / f"{path.name}.{step}")
    bench.run(*wanted)


def _rotate(rng: random.Random, path: Path, old: Path) -> None:
    way = rng.choice(["rename", "copytruncate", "gzip", "zstd", "nothing"])
    if way == "rename":
        path.rename(old)
    elif way == "copytruncate":
        copytruncate(path, old)
    elif way != "nothing":
        pack = gzip.compress if way == "gzip" else zstandard.compress
        old.with_suffix(".packed").write_bytes(pack(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize(("still", "seen"), [(10**19, ["1", "2"]), (-(10**19), ["1"])])
def test_what_has_not_changed_is_not_opened(
    bench: FileBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, still: int, seen: list[str]
) -> None:
    """A file whose status is what it was is left alone, unless it changed so lately that the status need not tell."""
    monkeypatch.setattr(reader, "_STILL_NANOS", still)
    monkeypatch.setattr(reader, "_signature", lambda _: (0,))
    append(tmp_path / "a.log", "1")
    with bench.life() as life:
        life.expect(["1"])
        append(tmp_path / "a.log", "2")
        life.settle()
        life.expect(seen)


def test_a_broken_file_is_left_alone_until_it_changes(
    bench: FileBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with broken compression is not read again and again, but when it was mended."""
    monkeypatch.setattr(reader, "_STILL_NANOS", -(10**19))
    source, opened = reader.Source, []

    def open_and_tell(path: Path) -> reader.Source:
        opened.append(path.name)
        return source(path)

    monkeypatch.setattr(reader, "Source", open_and_tell)
    whole = gzip.compress(line("1"))
    (tmp_path / "a.log.gz").write_bytes(whole[:-6])
    with bench.life() as life:
        life.settle()
        life.settle()
        assert opened == ["a.log.gz"]
        (tmp_path / "mended").write_bytes(whole)
        (tmp_path / "mended").rename(tmp_path / "a.log.gz")
        life.expect(["1"])
