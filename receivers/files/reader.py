"""
The reading thread: looks for files, reads each from its cursor on, and stores batch by batch.
"""

import glob
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meterline.api import Answer, Body, Principal, ReceiverContext
from meterline.receivers.files.config import FilesReceiverConfig
from meterline.receivers.files.cursor import Cursor, find
from meterline.receivers.files.progress import Progress
from meterline.receivers.files.source import BROKEN, Line, Source, lines
from meterline.receivers.files.submission import Submission, log_refusals

_MAX_ABSENT: Final = 1000
"""Cursors of files that are gone, kept in case they come back (a rotation that moves, a mount that is late)."""

Decode = Callable[[Sequence[Line], str], Sequence[Body]]
"""Lines of one file, and an id that is its own, to bodies."""


@dataclass(slots=True)
class _Batch:
    lines: list[Line]
    end: int
    last: bool


class FileReader:
    """
    One thread for all files of a receiver; a file that cannot be read is named once and tried again.
    """

    def __init__(self, name: str, config: FilesReceiverConfig, context: ReceiverContext, decode: Decode) -> None:
        self._config = config
        self._context = context
        self._decode = decode
        self._stopping = threading.Event()
        principal = Principal(config.principal, config.customers)
        self._submission = Submission(name, principal, context, self._stopping)
        self._cursors = {key: Cursor.decode(key, data) for key, data in context.state.items()}
        self._forget: dict[str, bytes] = {}
        self._broken: dict[str, str] = {}
        self.progress = Progress(context.clock, context.log)
        self._thread = threading.Thread(target=self._run, name=f"{name}-reader", daemon=True)

    def start(self) -> None:
        """
        Start reading.
        """
        self._thread.start()

    def stop(self, grace_secs: float) -> None:
        """
        Finish the batch under way, for up to the grace; whatever is left is read at the next start.
        """
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(grace_secs)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._round()
            except Exception:
                self._context.log.exception("reading files failed; it is tried again")
            self._stopping.wait(self._config.poll_secs)

    def _round(self) -> None:
        paths = self._paths()
        present = set()
        self.progress.looked(paths)
        for path in paths:
            cursor = self._read(path)
            if cursor is not None:
                present.add(cursor.id)
            if self._stopping.is_set():
                return
        self._forget_absent(present)
        if self._config.read == "once" and not self._broken:
            self.progress.finished()

    def _paths(self) -> list[Path]:
        excluded = set(_expand(self._config.exclude))
        return [Path(path) for path in sorted(set(_expand(self._config.include)) - excluded) if Path(path).is_file()]

    def _read(self, path: Path) -> Cursor | None:
        """
        Read what a file has beyond its cursor; None: it is empty, or cannot be read now.
        """
        try:
            with Source(path) as source:
                cursor = find(self._cursors.values(), source.place) if source.place.head else None
                if cursor is None and source.place.head:
                    cursor = Cursor.begin(source.place)
                if cursor is not None and cursor.size != source.size:
                    self._follow(source, cursor)
        except BROKEN as error:
            self._say_broken(path, error)
            return None
        self._broken.pop(str(path), None)
        return cursor

    def _say_broken(self, path: Path, error: Exception) -> None:
        if self._broken.get(str(path)) != str(error):
            self._context.log.error("file cannot be read; it is tried again", path=str(path), error=str(error))
            self._broken[str(path)] = str(error)

    def _follow(self, source: Source, cursor: Cursor) -> None:
        content = source.content(cursor.offset)
        if content is None:
            self._context.log.warning("file was cut; it is read from its beginning", path=source.place.path)
            cursor = cursor.at(source.place, 0)
            content = source.content(0)
        assert content is not None  # noqa: S101 - every file has an offset 0
        to_the_end = source.compressed or self._config.read == "once"
        found = lines(content, cursor.offset, self._config.max_line_bytes, to_the_end=to_the_end)
        for batch in self._batches(found):
            size = source.size if batch.last and to_the_end else 0
            cursor = cursor.at(source.place, batch.end or cursor.offset, size)
            if not self._store(source, cursor, batch):
                return

    def _batches(self, found: Iterator[Line]) -> Iterator[_Batch]:
        batch: list[Line] = []
        size = 0
        end = 0
        for line in found:
            if size >= self._config.batch_max_bytes:
                yield _Batch(batch, end, last=False)
                batch, size = [], 0
            batch.append(line)
            size += len(line.data) + 1
            end = line.end
        yield _Batch(batch, end, last=True)

    def _store(self, source: Source, cursor: Cursor, batch: _Batch) -> bool:
        if not batch.lines and cursor.size == 0:
            return True
        bodies = self._decode(batch.lines, cursor.id)
        answers = self._submission.store(bodies, {cursor.id: cursor.encode(), **self._forget})
        if answers is None:
            return False
        self._forget.clear()
        self._cursors[cursor.id] = cursor
        self._stored(source, batch, answers)
        return not self._stopping.is_set()

    def _stored(self, source: Source, batch: _Batch, answers: Sequence[Answer]) -> None:
        log_refusals(answers, self._context.log, source.place.path)
        points = sum(answer.points for answer in answers)
        rejected = sum(answer.rejected for answer in answers)
        self.progress.stored(source.place.path, source.position, len(batch.lines), points, rejected)

    def _forget_absent(self, present: set[str]) -> None:
        absent = [key for key in self._cursors if key not in present]
        for key in absent[: max(0, len(absent) - _MAX_ABSENT)]:
            del self._cursors[key]
            self._forget[key] = b""


def _expand(patterns: Sequence[Path]) -> Iterator[str]:
    for pattern in patterns:
        yield from glob.iglob(str(pattern), recursive=True)  # noqa: PTH207 - pathlib's takes no absolute pattern
