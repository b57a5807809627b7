"""
The receiver contract over files: a sender writes a file, and learns what became of it from what the receiver was told.
"""

import json
import shutil
import tempfile
import threading
import uuid
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meterline.api import Answer, Format, Receiver, ReceiverContext, Status
from meterline.receivers.files import FilesReceiver
from meterline.receivers.files.config import FilesReceiverConfig
from meterline.receivers.files.reader import FileReader
from meterline.testing.receivers import ID_KEY, Connection, Fate, Harness, Reply, receiver_suite
from meterline.testing.scripted_intake import Script

WAIT_SECS = 20.0


class Told:
    """What the receiver was told of each file."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._answers: dict[str, Sequence[Answer]] = {}

    def hear(self, path: str, answers: Sequence[Answer]) -> None:
        with self._changed:
            self._answers[path] = answers
            self._changed.notify_all()

    def wait(self, path: str) -> Sequence[Answer]:
        with self._changed:
            assert self._changed.wait_for(lambda: path in self._answers, WAIT_SECS), "a file is not read"
            return self._answers[path]


class FileConnection(Connection):
    """Each request is a file of its own, which is there at once."""

    def __init__(self, folder: Path, told: Told) -> None:
        self._folder = folder
        self._told = told

    def send(self, ids: Sequence[str]) -> Reply:
        path = self._folder / f"{uuid.uuid4()}.ndjson"
        events = ({ID_KEY: each, "timestamp": "2026-11-22T10:00:00Z"} for each in ids)
        path.with_suffix(".part").write_text("".join(json.dumps(event) + "\n" for event in events))
        path.with_suffix(".part").rename(path)
        answers = self._told.wait(str(path))
        if any(answer.status is not Status.STORED for answer in answers):
            return Reply(Fate.REFUSED)
        return Reply(Fate.STORED, sum(answer.rejected for answer in answers))

    def close(self) -> None:
        pass


class FilesHarness(Harness):
    """A folder of files."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="meterline-files-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._told = Told()

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        given = {"type": "files", "include": ["*.ndjson"], "poll_secs": 0.01}
        config = FilesReceiverConfig.model_validate(given, context={"base_dir": self._folder})
        receiver = FilesReceiver("contract", config, context)
        self._listen(receiver._reader)
        return receiver

    def _listen(self, reader: FileReader) -> None:
        stored = reader._stored

        def hear(source: Any, batch: Any, answers: Sequence[Answer]) -> None:
            stored(source, batch, answers)
            self._told.hear(source.place.path, answers)

        reader._stored = hear  # type: ignore[method-assign]

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        return FileConnection(self._folder, self._told)

    def ids(self, body: bytes, fmt: Format) -> list[str]:
        # what the script refuses for good is handed on as it is, for quarantine
        return [] if fmt is Format.REJECTS else super().ids(body, fmt)


class TestFiles(receiver_suite(FilesHarness)):  # type: ignore[misc]  # made for this harness
    """The contract; a file is not sent again by its writer, but read again by the receiver."""

    def test_refused_for_now_is_sent_again_and_stored_once(self) -> None:
        """Lines that are refused for now are stored in the end, once, without the writer doing anything."""
        sent = self._balance(Script(stored=1, retry=1))
        assert (sent.again, sent.refused) == (0, [])
        assert sent.stored
