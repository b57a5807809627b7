"""
The files receiver over a scripted intake, run again and again over a folder, with what it asked to be remembered.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline.api import Format, ReceiverContext, SystemClock
from meterline.receivers.files import FilesReceiver
from meterline.receivers.files.config import FilesReceiverConfig
from meterline.testing.process import wait_until
from meterline.testing.scripted_intake import Script, ScriptedIntake

SECS: Final = 30.0
"""How long anything may take."""


def names(body: bytes, fmt: Format) -> list[str]:
    """
    Return the ``n`` of each event in a body; a reject counts as its bytes.
    """
    if fmt is Format.REJECTS:
        return [f"reject {body!r}"]
    request = ExportLogsServiceRequest.FromString(body)
    records = [log for r in request.resource_logs for s in r.scope_logs for log in s.log_records]
    return [pair.value.string_value for log in records for pair in log.body.kvlist_value.values if pair.key == "n"]


def line(name: str) -> bytes:
    """
    Return an event of this name as a line.
    """
    return json.dumps({"n": name, "timestamp": "2026-11-22T10:00:00Z"}).encode() + b"\n"


class Life:
    """
    A receiver while it runs.
    """

    def __init__(self, bench: "FileBench", intake: ScriptedIntake, receiver: FilesReceiver) -> None:
        self._bench = bench
        self._intake = intake
        self._looks = 0
        self._bodies: list[bytes] = []
        submit = intake.submit

        def keep(body: bytes, *arguments: Any, **options: Any) -> None:
            self._bodies.append(body)
            submit(body, *arguments, **options)

        intake.submit = keep  # type: ignore[method-assign]
        progress = receiver._reader.progress  # noqa: SLF001 - nothing else tells when a look is over
        looked = progress.looked

        def look(sizes: Mapping[str, int]) -> None:
            self._looks += 1
            looked(sizes)

        progress.looked = look  # type: ignore[method-assign]

    @property
    def stored(self) -> Counter[str]:
        """
        Return what is stored, in this life and those before.
        """
        return self._bench.stored + self._intake.books.stored

    @property
    def bodies(self) -> list[bytes]:
        """
        Return what was submitted, whatever became of it.
        """
        return list(self._bodies)

    def wait_for_bodies(self, count: int) -> None:
        """
        Wait until so many bodies were submitted.
        """
        wait_until(lambda: len(self._bodies) >= count, SECS, "bodies")

    def settle(self) -> None:
        """
        Wait until every file that is there now was looked at.
        """
        goal = self._looks + 2
        wait_until(lambda: self._looks >= goal, SECS, "a look at all files")

    def expect(self, names: Sequence[str]) -> None:
        """
        Wait until all of them are stored, and then some; nothing else must be.
        """
        wait_until(lambda: self.stored.total() >= len(names), SECS, "the lines")
        self.settle()
        assert self.stored == Counter(names)


class FileBench:
    """
    A folder, and what is stored of its files.
    """

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.state: dict[str, bytes] = {}
        self.stored: Counter[str] = Counter()

    @contextmanager
    def life(self, script: Script | None = None, **options: Any) -> Iterator[Life]:
        """
        Run a receiver within the block; what it stored and asked to be remembered outlives it.
        """
        intake = ScriptedIntake(names, script or Script(), self.rng)
        receiver = self.receiver(intake, options)
        life = Life(self, intake, receiver)
        receiver.start()
        try:
            yield life
        finally:
            receiver.stop(SECS)
            intake.close()
        self.state |= intake.state
        self.state = {key: value for key, value in self.state.items() if value}
        self.stored += intake.books.stored
        assert intake.in_flight == 0

    def run(self, *expected: str, script: Script | None = None, **options: Any) -> None:
        """
        Run until everything that is expected is stored, and nothing else.
        """
        with self.life(script, **options) as life:
            life.expect(expected)
        assert self.stored == Counter(expected)

    def receiver(self, intake: ScriptedIntake, options: Mapping[str, Any]) -> FilesReceiver:
        """
        Return a receiver of the folder.
        """
        given = {"type": "files", "include": ["*.log*"], "poll_secs": 0.02, **options}
        config = FilesReceiverConfig.model_validate(given, context={"base_dir": self.folder})
        context = ReceiverContext(intake, SystemClock(), structlog.get_logger(), dict(self.state))
        return FilesReceiver("files", config, context)
