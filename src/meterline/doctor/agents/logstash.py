"""
Logstash: the http output drops a batch on any answer that it does not retry, and its queue is in memory by default.

Source: logstash-output-http 6.0.1, lib/logstash/outputs/http.rb; logstash 9.6, docs/reference/persistent-queues.md.
"""

from collections.abc import Iterator
from typing import Final

from meterline.doctor.findings import Finding
from meterline.doctor.tree import Node, is_off

NAME: Final = "Logstash pipeline"
SETTINGS_NAME: Final = "Logstash settings"

_SETTINGS: Final = frozenset(
    {"queue", "pipeline", "path", "node", "api", "http", "xpack", "dead_letter_queue", "config"}
)


def findings(root: Node) -> Iterator[Finding]:
    """
    Look at every http output of a pipeline, and whether events have an id.
    """
    outputs = root.list("output", "http")
    for output in outputs:
        yield from _http(output)
    filters = {name for name, _ in root.each("filter")}
    if outputs and not filters & {"uuid", "fingerprint"}:
        yield Finding(
            outputs[0].line,
            "duplicates",
            "events have no id of their own",
            "a batch without an answer is sent again, and after a restart cut anew: only an id tells a repeat",
            'filter { uuid { target => "[event][id]" } }, and the rule: identity: attributes["log.record.uid"]',
        )


def _http(output: Node) -> Iterator[Finding]:
    if is_off(output.text("retry_failed")):
        yield Finding(
            output.line_of("retry_failed"),
            "loses",
            "the http output does not retry",
            "a refused or unanswered batch is logged and dropped; there is no dead letter queue for this output",
            "retry_failed => true",
        )
    codes = {str(item.scalar) for item in output.list("retryable_codes")}
    if codes and "503" not in codes:
        yield Finding(
            output.line_of("retryable_codes"),
            "loses",
            "the http output does not retry a 503",
            "503 is what Meterline answers when it could not store a batch, and nothing else is lost",
            "retryable_codes => [429, 500, 502, 503, 504]",
        )
    if output.list("ignorable_codes"):
        yield Finding(
            output.line_of("ignorable_codes"),
            "loses",
            "the http output takes refusals for success",
            "a batch whose answer is in ignorable_codes is dropped without a word",
            "no ignorable_codes",
        )
    if output.text("format") in {"message", "form"}:
        yield Finding(
            output.line_of("format"),
            "distorts",
            f"the http output sends {output.text('format')}",
            "values are put in as they are: a quote in one breaks the body, and numbers become texts",
            'format => "json_batch"',
        )


def recognises_settings(root: Node) -> bool:
    """
    Say whether this is a logstash.yml.
    """
    return any(key.split(".")[0] in _SETTINGS for key in root.entries) or any(
        "pipeline.id" in item.entries for item in root.items
    )


def settings_findings(root: Node) -> Iterator[Finding]:
    """
    Look at the queue of a logstash.yml, or at those of a pipelines.yml; keys may be written flat or nested.
    """
    for pipeline in root.items:
        if _setting(pipeline, "queue", "type"):  # else logstash.yml says it
            yield from _queue(pipeline)
    if not root.items:
        yield from _queue(root)


def _queue(root: Node) -> Iterator[Finding]:
    writes = _setting(root, "queue", "checkpoint", "writes")
    if _setting(root, "queue", "type") != "persisted":
        yield Finding(
            _line(root, "queue", "type"),
            "loses",
            "the queue is in memory",
            "a crash or a hard stop loses every event that is in it",
            "queue.type: persisted",
        )
    elif writes != "1":
        yield Finding(
            _line(root, "queue", "checkpoint", "writes"),
            "loses",
            f"the queue is synced after {writes or '1024 (the default)'} events",
            "a power loss takes what was written since the last checkpoint",
            "queue.checkpoint.writes: 1",
        )


def _setting(root: Node, *path: str) -> str:
    return root.text(".".join(path)) or root.text(*path)


def _line(root: Node, *path: str) -> int:
    flat = root.at(".".join(path))
    return flat.line if flat is not None else root.line_of(*path)
