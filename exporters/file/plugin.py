"""
The exporter ``file``: write, fsync, then a checkpoint with the receipt; cut back to the checkpoint before going on.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import ClassVar, Final

from meterline.api import (
    Batch,
    DeliveryContract,
    Exporter,
    ExporterConfig,
    ExporterContext,
    NotConnectedError,
    PausedError,
    PluginSpec,
    Receipt,
)
from meterline.api.receipt import retry_all
from meterline.exporters.file.checkpoint import Checkpoint, Finish
from meterline.exporters.file.config import FileConfig
from meterline.exporters.file.encoding import CSV_HEADER, compressor, torn
from meterline.faultpoints import reached

MODE: Final = 0o600
NANOS: Final = 1_000_000_000


class FileExporter(Exporter[FileConfig]):
    """
    Appends batches to one file at a time. What is after the last stored checkpoint does not count: it is cut off at
    ``connect``, so a batch whose receipt was not stored is written again and stands in the file once.
    """

    spec = PluginSpec(
        name="file",
        kind="exporter",
        stability="beta",
        summary="Appends usage records to local NDJSON or CSV files; after a crash no line is torn and none is twice.",
    )
    Config: ClassVar[type[ExporterConfig]] = FileConfig

    def __init__(self, name: str, config: FileConfig, context: ExporterContext) -> None:
        super().__init__(name, config, context)
        self._path: Path = config.path
        self._next_path = config.path.with_name(f"{config.path.name}.next")
        self._compress = compressor(config.compression)
        self._header = CSV_HEADER if config.format == "csv" else b""
        self._fd = -1
        self._next_fd = -1
        self._at = Checkpoint(0, 0, 0)
        self._unstored: Checkpoint | None = None

    @property
    def contract(self) -> DeliveryContract:
        """
        Say that a resend cannot repeat anything.
        """
        return DeliveryContract(never_unknown=True, value_type="decimal string, exact")

    def connect(self, checkpoint: bytes | None) -> None:
        """
        Open the file and cut it back to the checkpoint; at the very first start, append to what is there.
        """
        self.close()
        try:
            if checkpoint is None:
                self._begin()
            else:
                self._take_up(Checkpoint.unpack(checkpoint))
        except OSError as error:
            self.close()
            raise NotConnectedError(
                f"opening '{self._path}': {error.strerror}; let this user write it and its directory"
            ) from error
        except PausedError:
            self.close()
            raise

    def pending_checkpoint(self) -> bytes | None:
        """
        Return where a file begins, before its first write; or that it is to be finished, before it is renamed.
        """
        return None if self._unstored is None else self._unstored.pack()

    def send(self, batch: Batch) -> Receipt:
        """
        Write the batch behind the checkpoint and sync it.
        """
        self._still_there()
        text = batch.encode(self.config.format)
        data = self._compress((self._header if self._at.length == 0 else b"") + text)
        try:
            _write(self._fd, data, self._at.length)
            reached("file.before_fsync")
            os.fdatasync(self._fd)
        except OSError as error:
            return retry_all(
                f"writing {len(data)} bytes to '{self._path}': {error.strerror}; make room or mend the disk"
            )
        self._at = self._at.grown(len(data), self.context.clock.now_ns())
        return Receipt(checkpoint=self._at.pack())

    def settled(self) -> None:
        """
        Go on with what was waiting for its checkpoint; then see whether this file is full.
        """
        if self._unstored is not None:
            stored, self._unstored = self._unstored, None
            if stored.finish is not None:
                self._swap(stored, stored.finish)
        elif self._is_full():
            self._prepare_rotation()

    def idle(self) -> None:
        """
        See whether this file is old enough.
        """
        if self._unstored is None and self._is_full():
            self._prepare_rotation()

    def close(self) -> None:
        """
        Close the file; what was synced stays, and nothing is renamed.
        """
        self._unstored = None
        for fd in (self._fd, self._next_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._next_fd = -1

    # Opening.

    def _begin(self) -> None:
        self._fd = _open(self._path, os.O_CREAT)
        found = os.fstat(self._fd)
        if found.st_size:
            why = torn(self._path, self.config.compression, self._header)
            if why is not None:
                raise PausedError(
                    f"appending to '{self._path}': the file was there before this exporter, and {why}; move it away, mend"
                    " it, or choose another path, then start again"
                )
        os.fsync(self._fd)
        self._sync_folder()
        since = self.context.clock.now_ns() if found.st_size else 0
        self._at = self._unstored = Checkpoint(1, found.st_ino, found.st_size, since)

    def _take_up(self, at: Checkpoint) -> None:
        if at.finish is not None:
            self._finish(at, at.finish)
        self._check(at)
        self._fd = _open(self._path, 0)
        over = os.fstat(self._fd).st_size - at.length
        if over > 0:
            self.context.log.warning(
                "cut off what was written after the last receipt", path=str(self._path), bytes=over
            )
            os.ftruncate(self._fd, at.length)
            os.fsync(self._fd)
        self._at = at

    def _check(self, at: Checkpoint) -> None:
        found = _stat(self._path)
        if found is None:
            self._lost(f"the file is gone; {at.length} bytes of it were delivered")
        elif found.st_ino != at.inode:
            self._lost(f"it is another file than the one that holds {at.length} delivered bytes (inode {at.inode})")
        elif found.st_size < at.length:
            self._lost(f"it has {found.st_size} bytes, and {at.length} were delivered")

    def _lost(self, what: str) -> None:
        raise PausedError(
            f"appending to '{self._path}': {what}; put the file back and start again; or, if its records are safe"
            " elsewhere, go on under a new exporter name with its own path and `start:`, and name this one in `forget`"
        )

    def _still_there(self) -> None:
        found = _stat(self._path)
        if found is None or found.st_ino != self._at.inode:
            self._check(self._at)

    # Rotation.

    def _is_full(self) -> bool:
        rotate = self.config.rotate
        if rotate is None or self._fd < 0 or self._at.length == 0:
            return False
        age = self.context.clock.now_ns() - self._at.since
        too_old = rotate.max_secs is not None and age >= int(rotate.max_secs * NANOS)
        return too_old or (rotate.max_bytes is not None and self._at.length >= rotate.max_bytes)

    def _prepare_rotation(self) -> None:
        """
        Make the next file beside this one; the checkpoint that names both comes before any rename.
        """
        self._next_fd = _open(self._next_path, os.O_CREAT | os.O_TRUNC)
        os.fsync(self._next_fd)
        self._sync_folder()
        self._unstored = self._at.rotated(self._path, os.fstat(self._next_fd).st_ino, self.context.clock.now_ns())

    def _swap(self, stored: Checkpoint, finish: Finish) -> None:
        self._finish(stored, finish)
        os.close(self._fd)
        self._fd, self._next_fd = self._next_fd, -1
        self._at = stored

    def _finish(self, at: Checkpoint, finish: Finish) -> None:
        """
        Rename the old file to its finished name and the new one to ``path``; whatever part of it is done already.
        """
        current = _stat(self._path)
        if current is not None and current.st_ino == at.inode:
            return
        finished = self._path.with_name(finish.name)
        if current is not None and current.st_ino == finish.inode:
            if finished.exists():
                raise PausedError(f"finishing '{self._path}': '{finished}' exists; move it away, then start again")
            if current.st_size < finish.length:
                self._lost(f"it has {current.st_size} bytes, and {finish.length} were delivered")
            os.truncate(self._path, finish.length)
            self._path.rename(finished)
            self._sync_folder()
        following = _stat(self._next_path)
        if following is not None and following.st_ino == at.inode and _stat(self._path) is None:
            self._next_path.rename(self._path)
            self._sync_folder()

    def _sync_folder(self) -> None:
        fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _open(path: Path, flags: int) -> int:
    """
    Open for this process alone. Raises PausedError when it is no regular file, or another exporter has it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | flags, MODE)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise PausedError(f"opening '{path}': not a regular file; choose another path, then start again")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
            raise
        raise PausedError(f"opening '{path}': another exporter or process writes it; give each its own path") from error
    return fd


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
