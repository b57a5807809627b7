"""
The reading thread: looks for files, reads each from its cursor on, and stores batch by batch.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import stat_result
from pathlib import Path
from typing import Final

from meterline.api import Answer, Body, Principal, ReceiverContext
from meterline.receivers.files.config import FilesReceiverConfig
from meterline.receivers.files.cursor import Cursor
from meterline.receivers.files.known import Homes, Known, Verdict
from meterline.receivers.files.lines import Line, pieces
from meterline.receivers.files.paths import Globs
from meterline.receivers.files.progress import Progress
from meterline.receivers.files.source import BROKEN, Source
from meterline.receivers.files.submission import Submission, log_refusals

_MAX_ABSENT: Final = 50_000
"""Cursors of files that are gone, kept in case they come back (a rotation that moves, a mount that is late)."""

_SETTLE_SECS: Final = 3.0
"""A short file that holds what another does is its copy if that one is cut or goes away soon; else it is a file of its own."""

_STILL_NANOS: Final = 2_000_000_000
"""A file that changed so lately may change again without another time."""

Decode = Callable[[Sequence[Line], str], Sequence[Body]]
"""Lines of one file, and an id that is its own, to bodies."""

Signature = tuple[int, ...]
"""What a file's status says of its content."""


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
        self._globs = Globs(config.include, config.exclude)
        self._stopping = threading.Event()
        principal = Principal(config.principal, config.customers)
        self._submission = Submission(name, principal, context, self._stopping)
        self._known = Known(Cursor.decode(key, data) for key, data in context.state.items())
        self._absent: dict[str, None] = dict.fromkeys(self._known)
        self._forget: dict[str, bytes] = {}
        self._broken: dict[str, str] = {}
        self._copies: dict[str, float] = {}
        self._read_out: dict[str, tuple[Signature, str]] = {}
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
        found = self._globs.files()
        homes = {(status.st_dev, status.st_ino): path for path, status in found.items()}
        self.progress.looked({path: status.st_size for path, status in found.items()})
        self._no_longer(found)
        present = set()
        for path, status in found.items():
            present.add(self._look(path, status, homes))
            if self._stopping.is_set():
                return
        self._forget_absent(present)
        if self._config.read == "once" and not self._broken and not self._copies:
            self.progress.finished()

    def _no_longer(self, found: dict[str, stat_result]) -> None:
        """
        Forget what was noted of paths that are gone.
        """
        self._broken = {path: said for path, said in self._broken.items() if path in found}
        self._copies = {path: since for path, since in self._copies.items() if path in found}
        self._read_out = {path: note for path, note in self._read_out.items() if path in found}

    def _look(self, path: str, status: stat_result, homes: Homes) -> str:
        """
        Read what a file has beyond its cursor, unless it is as it was when all of it was stored; return the cursor's id.
        """
        signature = _signature(status)
        known = self._read_out.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        cursor, settled = self._try(path, homes)
        if settled and self._context.clock.now_ns() - status.st_mtime_ns > _STILL_NANOS:
            self._read_out[path] = signature, cursor
        return cursor

    def _try(self, path: str, homes: Homes) -> tuple[str, bool]:
        """
        Read a file, whatever comes of it; say whether there is nothing to be had from it until it changes.
        """
        try:
            found = self._read(path, homes)
        except BROKEN as error:
            self._say_broken(path, str(error))
            return "", not isinstance(error, OSError) or error.errno is None
        except Exception:  # noqa: BLE001 - one file never costs the others; it is logged with its trace
            self._say_broken(path, "an unexpected error", exc_info=True)
            return "", False
        self._broken.pop(path, None)
        return found

    def _read(self, path: str, homes: Homes) -> tuple[str, bool]:
        """
        Return the cursor's id, "" when a file is empty or a copy, and whether all of it is stored.
        """
        with Source(Path(path)) as source:
            if not source.place.head:
                self._known.empty(source.place)
                return "", False
            cursor = self._cursor(source, homes)
            if cursor is None:
                return "", False
            return cursor.id, cursor.whole(source.place) or self._follow(source, cursor)

    def _cursor(self, source: Source, homes: Homes) -> Cursor | None:
        """
        Return the cursor of a file; None: it is a copy of one that is read, as far as can be told now.
        """
        found, path = self._known.find(source, homes), source.place.path
        if isinstance(found, Cursor):
            self._copies.pop(path, None)
            return found
        now = self._context.clock.monotonic()
        since = self._copies.setdefault(path, now) if found is not Verdict.NEW else now
        if found is Verdict.COPY or (found is Verdict.MAYBE_COPY and now - since < _SETTLE_SECS):
            return None
        self._copies.pop(path, None)
        return Cursor.begin(source.place, self._known)

    def _say_broken(self, path: str, error: str, *, exc_info: bool = False) -> None:
        if self._broken.get(path) != error:
            self._context.log.error("file cannot be read; it is tried again", path=path, error=error, exc_info=exc_info)
            self._broken[path] = error

    def _follow(self, source: Source, cursor: Cursor) -> bool:
        """
        Store what is behind the cursor; say whether that was everything.
        """
        content = source.content(cursor.offset)
        if content is None:
            return False
        to_the_end = source.compressed or self._config.read == "once"
        limit = self._config.max_line_bytes
        found = pieces(content, source.place.head, cursor.offset, limit, to_the_end=to_the_end)
        for batch in self._batches(found, cursor.until):
            begun, cursor = cursor, _behind(cursor, batch).at(source.place)
            if batch.last and to_the_end:
                cursor = cursor.finished(source.place)
            if not self._store(source, begun, cursor, batch):
                return False
        return True

    def _batches(self, found: Iterator[Line], until: int) -> Iterator[_Batch]:
        """
        Cut lines into batches; one that was begun before ends where it ended then, so that its bodies are the same bytes.
        """
        batch: list[Line] = []
        size = end = 0
        for line in found:
            if batch and (end >= until if until else size >= self._config.batch_max_bytes):
                yield _Batch(batch, end, last=False)
                batch, size, until = [], 0, 0
            batch.append(line)
            size += len(line.data) + 1
            end = line.end
        yield _Batch(batch, end, last=True)

    def _store(self, source: Source, begun: Cursor, cursor: Cursor, batch: _Batch) -> bool:
        """
        Store a batch and the cursor behind it; False: it is to be read again, at once or after the next start.
        """
        if not source.as_it_was():
            return False
        if not batch.lines and (cursor.size == 0 or cursor == self._known.get(cursor.id)):
            self._known.put(cursor)
            return True
        bodies = self._decode(batch.lines, cursor.id)
        answers = self._submit(source, begun, cursor, bodies)
        if answers is None:
            return False
        self._known.put(cursor)
        log_refusals(answers, self._context.log, source.place.path)
        self._stored(source, batch, answers)
        return batch.last or not self._stopping.is_set()

    def _submit(self, source: Source, begun: Cursor, cursor: Cursor, bodies: Sequence[Body]) -> list[Answer] | None:
        """
        Submit a batch. When it is of several bodies, which may be stored apart, first where it ends: it is cut the same again.
        """
        under_way = replace(begun, until=cursor.offset).at(source.place)
        if len(bodies) > 1 and self._submission.store((), {begun.id: under_way.encode()}) is None:
            return None
        answers = self._submission.store(bodies, {cursor.id: cursor.encode(), **self._forget})
        if answers is not None:
            self._forget.clear()
        return answers

    def _stored(self, source: Source, batch: _Batch, answers: Sequence[Answer]) -> None:
        points = sum(answer.points for answer in answers)
        rejected = sum(answer.rejected for answer in answers)
        self.progress.stored(source.place.path, source.position, len(batch.lines), points, rejected)

    def _forget_absent(self, present: set[str]) -> None:
        for key in self._known:
            if key in present:
                self._absent.pop(key, None)
            else:
                self._absent.setdefault(key)
        for key in list(self._absent)[: max(0, len(self._absent) - _MAX_ABSENT)]:
            del self._absent[key]
            self._known.drop(key)
            self._forget[key] = b""


def _signature(status: stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _behind(cursor: Cursor, batch: _Batch) -> Cursor:
    """
    Return the cursor behind a batch, with the last of its lines that says something.
    """
    marks = (line.mark for line in reversed(batch.lines))
    start, data = next((mark for mark in marks if mark[1]), (0, b""))
    return cursor.after(batch.end or cursor.offset, start, data)
