"""
Which files there are: globs, in one look.
"""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Final

_DEEP: Final = "**"


class Globs:
    """
    What is to be read. ``*`` and ``?`` do not match a name's leading dot; ``**`` matches folders of any depth.
    """

    def __init__(self, include: Sequence[Path], exclude: Sequence[Path]) -> None:
        self._include = [str(pattern) for pattern in include]
        self._exclude = [str(pattern) for pattern in exclude]

    def files(self) -> dict[str, os.stat_result]:
        """
        Return the status of each file, by its path, sorted. What cannot be looked at is not there.
        """
        paths = {path for pattern in self._include for path in _expand(pattern)}
        found = {}
        for path in sorted(paths):
            status = None if any(matches(path, pattern) for pattern in self._exclude) else _status(path)
            if status is not None and S_ISREG(status.st_mode):
                found[path] = status
        return found


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - of tens of thousands, each second
    except OSError:
        return None


def matches(path: str, pattern: str) -> bool:
    """
    Say whether a path is one of a pattern's, whatever stands there now.
    """
    return _matches(path.split("/"), pattern.split("/"))


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts or not names:
        return not names and (not parts or list(parts) == [_DEEP])
    if parts[0] == _DEEP:
        return _matches(names, parts[1:]) or (not names[0].startswith(".") and _matches(names[1:], parts))
    return _is_named(names[0], parts[0]) and _matches(names[1:], parts[1:])


def _is_named(name: str, part: str) -> bool:
    hidden = name.startswith(".") and not part.startswith(".")
    return not hidden and _compiled(part).match(name) is not None


@lru_cache(1000)
def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(translate(part))


def _expand(pattern: str) -> Iterator[str]:
    if _DEEP not in pattern.split("/"):
        return glob.iglob(pattern)  # noqa: PTH207 - pathlib's takes no absolute pattern
    return _walk(pattern)


def _walk(pattern: str) -> Iterator[str]:
    """
    Yield files in folders of any depth, through links too; a folder that is met again, as in a loop of links, is passed over.
    """
    parts = pattern.split("/")
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    seen = set()
    for folder, folders, names in os.walk("/".join(parts[:fixed]) or "/", followlinks=True):
        status = _status(folder)
        if status is None or (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (f"{folder.rstrip('/')}/{name}" for name in names)
        yield from (path for path in paths if matches(path, pattern))
