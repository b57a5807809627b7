"""
Grafana Alloy, and Grafana Agent in flow mode: the Collector's, Prometheus's and Loki's senders under other names.

Source: docs/sources/reference/components of Alloy 1.18.
"""

from collections.abc import Iterator
from typing import Final

from meterline.doctor.findings import Finding
from meterline.doctor.tree import Node, is_on, is_zero

NAME: Final = "Grafana Alloy"

_EXPORTERS: Final = ("otelcol.exporter.otlp", "otelcol.exporter.otlphttp")


def findings(root: Node) -> Iterator[Finding]:
    """
    Look at every component that usage may leave by.
    """
    for kind in _EXPORTERS:
        for block in root.list(kind):
            yield from _exporter(f"{kind} {block.value('label') or ''}".strip(), block)
    for block in root.list("otelcol.processor.batch"):
        yield Finding(
            block.line,
            "loses",
            f"otelcol.processor.batch {block.value('label') or ''} stands before the queue",
            "it answers the sender before the batch is in the exporter's queue: a crash between loses it",
            "no batch component; sending_queue { batch { } } in the exporter",
        )
    for block in root.list("otelcol.storage.file"):
        if not is_on(block.text("fsync")):
            yield Finding(
                block.line_of("fsync"),
                "loses",
                f"otelcol.storage.file {block.value('label') or ''} does not sync its file",
                "a power loss takes what was accepted last",
                "fsync = true",
            )
    yield from _remote_write(root)
    yield from _loki(root)


def _first(block: Node, name: str) -> Node | None:
    found = block.list(name)
    return found[0] if found else None


def _exporter(name: str, block: Node) -> Iterator[Finding]:
    retry = _first(block, "retry_on_failure")
    elapsed = "" if retry is None else retry.text("max_elapsed_time")
    if not is_zero(elapsed):
        yield Finding(
            block.line if retry is None else retry.line_of("max_elapsed_time"),
            "loses",
            f"{name} gives up after {elapsed or '5m by default'}",
            "a batch that could not be delivered for so long is dropped: an outage loses its beginning",
            'retry_on_failure { max_elapsed_time = "0s" }',
        )
    queue = _first(block, "sending_queue")
    line = block.line if queue is None else queue.line
    if queue is None or queue.value("storage") is None:
        yield Finding(
            line,
            "loses",
            f"{name} keeps its queue in memory",
            "a restart or crash loses up to 1,000 waiting batches",
            "sending_queue { storage = otelcol.storage.file.NAME.handler }",
        )
    if queue is None or not is_on(queue.text("block_on_overflow")):
        yield Finding(
            line if queue is None else queue.line_of("block_on_overflow"),
            "loses",
            f"{name} drops when its queue is full",
            "the queue holds 1,000 batches by default, about ten seconds at 100 requests a second",
            "sending_queue { block_on_overflow = true }",
        )


def _remote_write(root: Node) -> Iterator[Finding]:
    for block in root.list("prometheus.remote_write"):
        for endpoint in block.list("endpoint"):
            queue = _first(endpoint, "queue_config")
            if queue is not None and queue.text("retry_on_http_429") == "false":
                yield Finding(
                    queue.line_of("retry_on_http_429"),
                    "loses",
                    "prometheus.remote_write drops samples on a 429",
                    "Meterline answers 503 instead, but a proxy between may not",
                    "retry_on_http_429 = true",
                )


def _loki(root: Node) -> Iterator[Finding]:
    for block in root.list("loki.write"):
        for endpoint in block.list("endpoint"):
            retries = endpoint.text("max_backoff_retries")
            if not retries.isdigit() or 0 < int(retries) < 1_000_000:
                yield Finding(
                    endpoint.line_of("max_backoff_retries"),
                    "loses",
                    f"loki.write gives up after {retries or 10} retries",
                    "a batch that could not be delivered within some minutes is dropped",
                    "max_backoff_retries = 1000000000",
                )
        wal = _first(block, "wal")
        if wal is None or not is_on(wal.text("enabled")):
            yield Finding(
                block.line if wal is None else wal.line_of("enabled"),
                "loses",
                "loki.write keeps its batches in memory",
                "a restart or crash loses what was not delivered",
                "wal { enabled = true }",
            )
