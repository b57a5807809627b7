"""
CPU of the kernel alone, stage by stage, in ns per point: no gRPC, no ledger, no rules engine.

``python benchmarks/kernel.py [--kind cumulative|delta|double] [--streams N] [--restart N]``
"""

import argparse
import resource
import statistics
import struct
import time
from collections.abc import Callable

from meterline.api.receiver import ANONYMOUS, Format
from meterline.kernel import load_kernel
from meterline.kernel.seam import Charge, Kernel, Meter, MeterOptions, StoredFrame
from meterline.testing.otlp import CUMULATIVE, DELTA, Metrics, Point
from meterline.testing.rules import SimpleRule, SimpleRules

SECOND = 10**9
BASE = 1_700_000_000
SIZES = (8192, 512, 8)
STAGES = ("walk", "lookup", "apply", "seal", "skip")


def attributes(stream: int) -> dict[str, str | int]:
    """
    Make seven texts and an int, about 230 B a point.
    """
    return {
        "customer.id": f"customer-{stream % 1000:06d}",
        "http.route": f"/v1/things/{stream % 40}/items",
        "http.request.method": "GET",
        "server.address": "api.example.com",
        "deployment.environment": "production-eu-west-1",
        "pod": f"pod-{stream:08d}",
        "network.protocol.name": "http",
        "http.response.status_code": 200,
    }


class Template:
    """
    A request whose times and values are patched in place, so that making bodies is not measured.
    """

    def __init__(self, first: int, points: int, kind: str, name: str = "http.server.request.count") -> None:
        request = Metrics({f"resource.attribute.{k}": f"value-{k}" for k in range(5)})
        value = 7.5 if kind == "double" else 7
        temporality = DELTA if kind == "delta" else CUMULATIVE
        made = [Point(BASE, BASE + 1, value, attributes(first + index)) for index in range(points)]
        request.sum(made, name=name, temporality=temporality)
        self.body = bytearray(bytes(request))
        self.delta = kind == "delta"
        self.mark = struct.Struct("<BQBQB")
        self.value = struct.Struct("<d" if kind == "double" else "<q")
        tag = 0x21 if kind == "double" else 0x31
        head = self.mark.pack(0x11, BASE * SECOND, 0x19, (BASE + 1) * SECOND, tag)
        self.places = _find(self.body, head)

    def at(self, step: int) -> bytes:
        """
        Return the body of one step: every counter has moved on.
        """
        time_ns = (BASE + 1 + step) * SECOND
        start = time_ns - SECOND if self.delta else BASE * SECOND
        tag = self.body[self.places[0] + 18]
        head = self.mark.pack(0x11, start, 0x19, time_ns, tag)
        half = 0.5 if tag == 0x21 else 0
        for index, at in enumerate(self.places):
            grown = 3 + index * 7 % 200
            self.body[at : at + 27] = head + self.value.pack(7 + (grown if self.delta else step * grown) + half)
        return bytes(self.body)


def _find(body: bytearray, head: bytes) -> list[int]:
    places = []
    at = body.find(head)
    while at >= 0:
        places.append(at)
        at = body.find(head, at + 1)
    return places


class Run:
    """
    One kernel with its rules, and what each stage cost.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.plan = kernel.plan(1, "bench")
        self.rules = SimpleRules(
            SimpleRule("requests", "http.*", reads=("http.route",), charge=Charge("", None, None, metadata=()))
        )
        self.meter: Meter = kernel.meter(MeterOptions())
        self.source = self.meter.source("otlp", ANONYMOUS)
        self.frames: list[StoredFrame] = []
        self.spent: dict[str, list[float]] = {stage: [] for stage in STAGES}

    def learn(self, body: bytes) -> None:
        """
        Teach the kernel what it needs of a body, and apply it.
        """
        batch = self.kernel.decode(body, Format.OTLP_METRICS, self.plan)
        while (unknown := self.meter.resolve(batch)) is not None:
            self.meter.learn(unknown.gen, self.rules.answer(unknown)[0])
        assert self.meter.apply(batch, (BASE + 60) * SECOND, self.source) is not None  # noqa: S101 (a benchmark of something that works)
        self.commit(keep=True)

    def commit(self, *, keep: bool = False) -> int:
        """
        Seal and confirm; return the frame's size.
        """
        frame = self.meter.seal()
        assert frame is not None  # noqa: S101 (a benchmark of something that works)
        self.meter.committed(frame.seq)
        if keep:
            self.frames.append(StoredFrame(frame.seq, frame.gen, frame.body, frame.definitions))
        return len(frame.body)

    def timed(self, stage: str, points: int, call: Callable[[], object]) -> object:
        """
        Call and note the CPU time of this thread per point.
        """
        before = time.thread_time_ns()
        result = call()
        self.spent[stage].append((time.thread_time_ns() - before) / points)
        return result

    def measure(self, body: bytes, points: int) -> int:
        """
        Take one body through all stages; return the frame's size.
        """
        meter = self.meter
        batch = self.timed("walk", points, lambda: self.kernel.decode(body, Format.OTLP_METRICS, self.plan))
        assert self.timed("lookup", points, lambda: meter.resolve(batch)) is None  # type: ignore[arg-type]  # noqa: S101 (a benchmark of something that works)
        now = (BASE + 3600) * SECOND
        applied = self.timed("apply", points, lambda: meter.apply(batch, now, self.source))  # type: ignore[arg-type]
        assert applied is not None  # noqa: S101 (a benchmark of something that works)
        frame = self.timed("seal", points, meter.seal)
        meter.committed(frame.seq)  # type: ignore[attr-defined]
        meter.totals()
        return len(frame.body)  # type: ignore[attr-defined]


def hot(kind: str, points: int, rounds: int) -> None:
    """
    Print what a point of known streams costs.
    """
    run = Run(load_kernel())
    template = Template(0, points, kind)
    skipped = Template(0, points, kind, name="other")
    run.learn(template.at(0))
    run.learn(skipped.at(0))
    size = 0
    for step in range(1, rounds + 1):
        size = run.measure(template.at(step), points)
        body = skipped.at(step)
        run.timed("skip", points, lambda body=body: run.kernel.decode(body, Format.OTLP_METRICS, run.plan))
    cost = {stage: statistics.median(spent) for stage, spent in run.spent.items()}
    total = sum(cost[stage] for stage in STAGES[:-1])
    each = "  ".join(f"{stage} {cost[stage]:7.0f}" for stage in STAGES)
    print(f"{kind:10} {points:5} points: {each}   sum {total:7.0f} ns/pt   frame {size / points:5.1f} B/pt")


def cold(kind: str, points: int) -> None:
    """
    Print what the first point of a stream costs, from its bytes to its frame, with the stand-in's rules.
    """
    run = Run(load_kernel())
    run.learn(Template(0, points, kind).at(0))
    bodies = [Template(first, points, kind).at(0) for first in range(points, 40_000, points)]
    before = time.thread_time_ns()
    for body in bodies:
        run.learn(body)
    print(f"{kind:10} {points:5} points, all new: {(time.thread_time_ns() - before) / len(bodies) / points:7.0f} ns/pt")


def memory(kind: str, streams: int) -> None:
    """
    Print what a stream costs: to learn, to keep, to store, to restore.
    """
    run = Run(load_kernel())
    first = _rss()
    before = time.thread_time()
    for start in range(0, streams, 8192):
        run.learn(Template(start, min(8192, streams - start), kind).at(0))
    learned = time.thread_time() - before
    print(
        f"{kind}: {streams} streams, {(_rss() - first) / streams:.0f} B each, {learned / streams * 1e6:.1f} us to learn"
    )
    before = time.thread_time()
    chunks = {}
    complete = False
    while not complete:
        part = run.meter.snapshot(1 << 20)
        chunks.update({chunk.id: chunk for chunk in part.chunks})
        complete = part.complete
    spent = time.thread_time() - before
    size = sum(len(chunk.body) for chunk in chunks.values())
    print(f"snapshot: {size / streams:.0f} B and {spent / streams * 1e9:.0f} ns a stream")
    before = time.thread_time()
    report = run.kernel.meter(MeterOptions()).restore(chunks.values(), (), (), 0, streams + 1)
    print(f"restore: {report.streams} streams in {time.thread_time() - before:.2f} s")


def _rss() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 (a kernel file)
        return int(statm.read().split()[1]) * resource.getpagesize()


def main() -> None:
    """
    Measure what the options ask for.
    """
    parser = argparse.ArgumentParser(description="CPU of the kernel alone, in ns per point")
    parser.add_argument("--kind", choices=("cumulative", "delta", "double"), default="cumulative")
    parser.add_argument(
        "--streams", type=int, default=0, help="measure memory and restart with so many streams instead"
    )
    options = parser.parse_args()
    if options.streams:
        memory(options.kind, options.streams)
        return
    for points in SIZES:
        hot(options.kind, points, rounds=max(20, min(400, 40_000 // points)))
    for points in SIZES[:2]:
        cold(options.kind, points)


if __name__ == "__main__":
    main()
