"""
A real ledger under delivery, without a gateway: frames of any records, a writer thread, and a way to die.

Frames have a body of their own (JSON), and ``RigKernel`` expands them; everything else - SQLite, cursors, commits,
threads - is what runs in production.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Literal, TypeVar, cast

import structlog

from meterline.api import Clock, Exporter, ExporterContext, Quantity, Source, SystemClock, UsageRecord
from meterline.delivery import Delivery, State, exporter_states
from meterline.kernel.seam import Frame, Kernel, Names, TotalRow
from meterline.ledger import Ledger, open_reader
from meterline.ledger.model import CommitGroup, LedgerOptions, Transaction

T = TypeVar("T")
Json = dict[str, Any]

COLUMNS: Final = (
    *(
        "id",
        "customer_id",
        "dimension_id",
        "value",
        "timestamp",
        "start_timestamp",
        "metadata",
        "rule",
        "kind",
        "source",
    ),
)


def utc(time_ns: int) -> str:
    """
    Return RFC 3339 with nine decimals and Z.
    """
    whole, nanos = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def record_json(record: UsageRecord) -> Json:
    """
    Return a record as the JSON object that users see, keys in their order.
    """
    source = record.source
    return {
        "id": record.id,
        "customer_id": record.customer_id,
        "dimension_id": record.dimension_id,
        "value": str(record.value),
        "timestamp": utc(record.timestamp),
        "start_timestamp": None if record.start_timestamp is None else utc(record.start_timestamp),
        "metadata": dict(record.metadata),
        "rule": record.rule,
        "kind": record.kind,
        "source": {
            "receiver": source.receiver,
            "stream": source.stream,
            "principal": source.principal,
            "rules_hash": source.rules_hash,
        },
    }


def _pack(record: UsageRecord) -> Json:
    return record_json(record) | {"units": str(record.value.units), "times": [record.timestamp, record.start_timestamp]}


def _unpack(fields: Json) -> UsageRecord:
    timestamp, start = fields["times"]
    return UsageRecord(
        id=fields["id"],
        customer_id=fields["customer_id"],
        dimension_id=fields["dimension_id"],
        value=Quantity(int(fields["units"])),
        timestamp=timestamp,
        start_timestamp=start,
        metadata=fields["metadata"],
        rule=fields["rule"],
        kind=fields["kind"],
        source=Source(**fields["source"]),
    )


class RigRecords:
    """
    A ``RecordBatch`` of records that are there already.
    """

    def __init__(self, records: Sequence[UsageRecord]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def select(self, keep: Callable[[str, str, str], bool]) -> Sequence[int]:
        """
        Return the ordinals that are kept.
        """
        records = enumerate(self._records)
        return [i for i, record in records if keep(record.rule, record.customer_id, record.dimension_id)]

    def record(self, ordinal: int) -> UsageRecord:
        """
        Return one record.
        """
        return self._records[ordinal]

    def encode(self, fmt: Literal["ndjson", "csv"], ordinals: Sequence[int]) -> bytes:
        """
        Return these records as lines.
        """
        objects = [record_json(self._records[ordinal]) for ordinal in ordinals]
        if fmt == "ndjson":
            return "".join(f"{_compact(each)}\n" for each in objects).encode()
        return "".join(",".join(_cell(each[name]) for name in COLUMNS) + "\r\n" for each in objects).encode()

    def totals(self) -> Iterable[TotalRow]:
        """
        Return nothing: the rig keeps no totals.
        """
        return ()


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else _compact(value)
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"\r\n') else text


class RigKernel:
    """
    Expands the rig's frames; counts how often.
    """

    implementation = "rig"

    def __init__(self) -> None:
        self.expanded = 0

    def records(self, body: bytes, names: Names) -> RigRecords:
        """
        Expand a frame.
        """
        del names
        self.expanded += 1
        return RigRecords([_unpack(fields) for fields in json.loads(body)])


class GoneError(Exception):
    """
    A frame came after the process died; nothing of it was stored.
    """


@dataclass(frozen=True, slots=True)
class _Item:
    """
    What waits for the writer thread: a job, or the records of a frame.
    """

    work: Callable[[Transaction], Any] | Sequence[UsageRecord]
    future: "Future[Any]"


class RigTransactor:
    """
    The writer thread: jobs that wait are committed together, frames one by one.

    ``fail_next``: so many of the next commits of jobs fail with these errors. ``dead``: as after ``kill -9``, nothing is
    done any more and nobody gets an answer.
    """

    def __init__(self, ledger: Ledger, last_seq: int) -> None:
        self._ledger = ledger
        self._last_seq = last_seq
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="rig-writer", daemon=True)
        self.fail_next: list[Exception] = []
        self.dead = False
        self.commits = 0
        self._thread.start()

    def transact(self, job: Callable[[Transaction], T]) -> "Future[T]":
        """
        Queue a job.
        """
        item = _Item(job, Future())
        self._queue.put(item)
        return item.future

    def append(self, records: Sequence[UsageRecord]) -> "Future[int]":
        """
        Queue a frame; the future holds its number.
        """
        item = _Item(list(records), Future())
        self._queue.put(item)
        return item.future

    def stop(self) -> None:
        """
        End the thread, after what is queued.
        """
        self._queue.put(None)
        self._thread.join(10)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self.dead:
                if not callable(item.work):
                    item.future.set_exception(GoneError("the process is dead"))
                continue
            if callable(item.work):
                self._resolve([item.future], self._commit_job, item.work)
            else:
                self._resolve([item.future], self._commit_frame, item.work)

    def _resolve(self, futures: "list[Future[Any]]", commit: Callable[[Any], Any], work: Any) -> None:
        try:
            result = commit(work)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
            result = error
        for future in futures:
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _commit_job(self, job: Callable[[Transaction], Any]) -> Any:
        if self.fail_next:
            raise self.fail_next.pop(0)
        self.commits += 1
        return self._ledger.commit(CommitGroup(jobs=[job])).jobs[0]

    def _commit_frame(self, records: Sequence[UsageRecord]) -> int:
        count = len(records)
        body = json.dumps([_pack(record) for record in records]).encode()
        balance = {"received": count, "recorded": count, "claims": count, "claim_records": count}
        frame = Frame(
            seq=self._last_seq + 1,
            gen=1,
            body=body,
            definitions=b"",
            first_meter=0,
            meters=0,
            points=count,
            records=count,
            balance=balance,
        )
        self._ledger.commit(CommitGroup(frame=frame))
        self._last_seq += 1
        return self._last_seq


class Rig:
    """
    A ledger in a folder, and a delivery over it that can be stopped, killed and started again.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.path = folder / "meterline.db"
        self.clock = clock or SystemClock()
        self.kernel = RigKernel()
        self.created: list[UsageRecord] = []
        self.delivery: Delivery | None = None
        self.room = True
        self._open()

    def _open(self) -> None:
        self.ledger = Ledger.open(self.path, LedgerOptions(reserve_bytes=0), self.clock)
        with open_reader(self.path) as reader:
            self.transactor = RigTransactor(self.ledger, reader.last_seq())

    @property
    def id(self) -> str:
        """
        Return the ledger's id.
        """
        return self.ledger.id

    def room_to_record(self) -> bool:
        """
        Say what ``room`` says.
        """
        return self.room

    def append(self, records: Sequence[UsageRecord]) -> int:
        """
        Commit a frame with these records; returns its number.
        """
        seq = self.transactor.append(records).result(30)
        self.created.extend(records)
        return seq

    def context(self) -> ExporterContext:
        """
        Return what an exporter is made with.
        """
        return ExporterContext(self.ledger.id, self.clock, structlog.get_logger("rig"))

    def start(self, *exporters: Exporter[Any], forget: Sequence[str] = ()) -> Delivery:
        """
        Start delivery to these exporters.
        """
        self.delivery = Delivery(
            exporters={exporter.name: exporter for exporter in exporters},
            ledger=self,
            open_reader=lambda: open_reader(self.path),
            transactor=self.transactor,
            kernel=cast("Kernel", self.kernel),
            clock=self.clock,
            log=structlog.get_logger("rig"),
            forget=forget,
        )
        self.delivery.start()
        return self.delivery

    def stop(self, secs: float = 10.0) -> None:
        """
        Stop delivery as a SIGTERM does.
        """
        if self.delivery is not None:
            self.delivery.stop(self.clock.monotonic() + secs)
            self.delivery = None

    def kill(self) -> None:
        """
        Die as by ``kill -9``, as far as the ledger can tell: nothing is committed from now on. Then open it again.
        """
        self.transactor.dead = True
        self.stop(0)
        self.close()
        self._open()

    def restart(self) -> None:
        """
        Stop, close, and open the ledger again.
        """
        self.stop()
        self.close()
        self._open()

    def close(self) -> None:
        """
        Close the ledger. Legal twice.
        """
        self.stop(0)
        self.transactor.stop()
        self.ledger.close()

    def states(self) -> dict[str, State]:
        """
        Return how every exporter stands, from the ledger alone.
        """
        with open_reader(self.path) as reader, reader.snapshot():
            return {state.row.name: state for state in exporter_states(reader, cast("Kernel", self.kernel))}

    def sql(self, query: str, *bindings: Any) -> list[tuple[Any, ...]]:
        """
        Return the rows of a query, read as anybody with a shell could.
        """
        with open_reader(self.path) as reader:
            return reader.connection.execute(query, bindings).fetchall()

    def wait_until(self, condition: Callable[[dict[str, State]], bool], secs: float = 20.0) -> dict[str, State]:
        """
        Wait until the states fulfil a condition. Raises AssertionError with the states when they do not in time.
        """
        end = time.monotonic() + secs
        while not condition(states := self.states()):
            assert time.monotonic() < end, f"not in {secs} s: {states}"
            time.sleep(0.01)
        return states

    def wait_delivered(self, secs: float = 20.0) -> dict[str, State]:
        """
        Wait until nothing is pending.
        """
        return self.wait_until(lambda states: all(state.pending == 0 for state in states.values()), secs)


def usage(number: int, **changes: Any) -> UsageRecord:
    """
    Return a record that differs from every other number's; ``changes`` replace fields.
    """
    fields: dict[str, Any] = {
        "id": f"{number:032x}",
        "customer_id": f"customer-{number % 7}",
        "dimension_id": ("requests", "bytes")[number % 2],
        "value": Quantity((number + 1) * 10**30 + number),
        "timestamp": 1_790_000_000_000_000_000 + number * 1_000_000_007,
        "start_timestamp": None if number % 3 == 0 else 1_790_000_000_000_000_000 + number,
        "metadata": {} if number % 5 == 0 else {"route": f"/v1/{number}"},
        "rule": f"rule-{number % 2}",
        "kind": "usage",
        "source": Source("otlp", f"{number:032x}" if number % 3 else None, "anonymous", "ab" * 16),
    }
    return UsageRecord(**(fields | changes))
