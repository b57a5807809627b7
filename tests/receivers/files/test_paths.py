"""
Globs find the files that are there, once, whatever links lead where.
"""

import os
from pathlib import Path

import pytest

from meterline.receivers.files.paths import Globs, matches


def found(folder: Path, include: list[str], exclude: list[str] | None = None) -> list[str]:
    """The files of some globs, by their paths within the folder."""
    globs = Globs([folder / each for each in include], [folder / each for each in exclude or []])
    return [str(Path(path).relative_to(folder)) for path in globs.files()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files in folders, hidden ones and links among them."""
    for name in ("a.log", "b.log", "b.txt", ".hidden.log", "x/c.log", "x/y/d.log", ".git/e.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_globs(folder: Path) -> None:
    """Each file is there once, however many globs it is in; folders, hidden files and what is excluded are not."""
    (folder / "folder.log").mkdir()
    assert found(folder, ["*.log"]) == ["a.log", "b.log"]
    assert found(folder, ["*.log", "a.*", "x/*.log"], ["b.*"]) == ["a.log", "x/c.log"]
    assert found(folder, ["**/*.log"]) == ["a.log", "b.log", "x/c.log", "x/y/d.log"]
    assert found(folder, ["x/**"]) == ["x/c.log", "x/y/d.log"]
    assert found(folder, ["**/*.log"], ["x/**"]) == ["a.log", "b.log"]
    assert found(folder, [".*.log", "none/*.log", "none/**/a"]) == [".hidden.log"]


def test_what_is_no_file_is_not_there(folder: Path) -> None:
    """A pipe, which would never end, and a link that leads nowhere are passed over; a link to a file is one."""
    os.mkfifo(folder / "pipe.log")
    (folder / "gone.log").symlink_to(folder / "none")
    (folder / "link.log").symlink_to(folder / "b.txt")
    assert found(folder, ["*.log"]) == ["a.log", "b.log", "link.log"]


def test_links_in_a_circle_end(folder: Path) -> None:
    """Folders that contain each other by links are walked once."""
    (folder / "x" / "up").symlink_to(folder)
    (folder / "x" / "again").symlink_to(folder / "x")
    (folder / "x" / "y" / "up").symlink_to(folder)
    assert found(folder, ["**/*.log"]) == ["a.log", "b.log", "x/c.log", "x/y/d.log"]


def test_a_linked_folder_is_walked(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Files behind a link to a folder are there."""
    other = tmp_path_factory.mktemp("other")
    (other / "far.log").write_text("x")
    (folder / "x" / "linked").symlink_to(other)
    assert "x/linked/far.log" in found(folder, ["**/*.log"])


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("/a/b.log", "/a/*.log", True),
        ("/a/b/c.log", "/a/*.log", False),
        ("/a/b/c.log", "/a/**/*.log", True),
        ("/a/c.log", "/a/**/*.log", True),
        ("/a/.b/c.log", "/a/**/*.log", False),
        ("/a/.c.log", "/a/*", False),
        ("/a/.c.log", "/a/.*", True),
        ("/a/b/c", "/a/**", True),
        ("/a/b", "/a/b/**", True),
        ("/a/b", "/a/b/c", False),
        ("/a/b/c", "/a/b", False),
        ("/a/b1", "/a/b[0-9]", True),
        ("/a/bx", "/a/b[!0-9]", True),
        ("/a/bx", "/a/b?", True),
    ],
)
def test_paths_match_without_being_there(path: str, pattern: str, expected: bool) -> None:  # noqa: FBT001
    """What is excluded is told by its name alone, so that no file slips through while it is made."""
    assert matches(path, pattern) is expected
