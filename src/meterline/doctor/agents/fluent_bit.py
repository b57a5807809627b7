"""
Fluent Bit: one retry, then the chunk is gone, and chunks are in memory, unless told otherwise.

Source: src/flb_output.c (retry_limit), plugins/out_{http,opentelemetry,forward}, docs: buffering and storage (5.1).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from meterline.doctor.findings import Finding
from meterline.doctor.tree import Node, is_on

NAME: Final = "Fluent Bit"

_OUTPUTS: Final = ("http", "opentelemetry", "forward", "prometheus_remote_write", "loki")


def recognises(root: Node) -> bool:
    """
    Say whether this is a Fluent Bit YAML config.
    """
    return root.at("pipeline", "outputs") is not None or root.at("pipeline", "inputs") is not None


def findings(root: Node) -> Iterator[Finding]:
    """
    Look at a YAML config.
    """
    yield from _all(
        _lower(root.list("pipeline", "inputs")),
        _lower(root.list("pipeline", "outputs")),
        _lower(root.list("pipeline", "filters")),
        next(iter(_lower(root.list("service"))), None),
    )


def classic_findings(root: Node) -> Iterator[Finding]:
    """
    Look at a classic config.
    """
    services = root.list("service")
    inputs, outputs, filters = (list(root.list(part)) for part in ("input", "output", "filter"))
    yield from _all(inputs, outputs, filters, services[0] if services else None)


def _lower(nodes: Sequence[Node]) -> list[Node]:
    return [Node(node.line, entries={key.lower(): value for key, value in node.entries.items()}) for node in nodes]


def _all(inputs: list[Node], outputs: list[Node], filters: list[Node], service: Node | None) -> Iterator[Finding]:
    for found in filters:
        if found.text("name") == "throttle":
            yield Finding(
                found.line_of("name"),
                "loses",
                "filter throttle drops events over its rate",
                "what is over the rate is thrown away, not held back",
                "no such filter for usage",
            )
    for output in outputs:
        if output.text("name") in _OUTPUTS:
            yield from _output(output)
    for source in inputs:
        yield from _input(source)
    if service is not None and service.value("storage.path") is not None and service.text("storage.sync") != "full":
        yield Finding(
            service.line_of("storage.sync"),
            "loses",
            "the service does not sync its chunks",
            "by default a crash of the machine takes what was written last",
            "storage.sync: full",
        )
    on_disk = any(source.text("storage.type") == "filesystem" for source in inputs)
    if on_disk and (service is None or service.value("storage.path") is None):
        yield Finding(
            service.line if service is not None else 1,
            "loses",
            "the service has no storage.path",
            "without it inputs with storage.type filesystem keep their chunks in memory",
            "storage.path: /var/lib/fluent-bit",
        )


def _output(output: Node) -> Iterator[Finding]:
    name = output.text("name")
    limit = output.text("retry_limit")
    if limit not in {"no_limits", "false"}:
        yield Finding(
            output.line_of("retry_limit"),
            "loses",
            f"output {name} {_gives_up(output.shown('retry_limit'))}",
            "by default a chunk is sent twice, then dropped: an outage of seconds loses usage",
            "retry_limit: no_limits",
        )
    if output.value("storage.total_limit_size") is not None:
        yield Finding(
            output.line_of("storage.total_limit_size"),
            "loses",
            f"output {name} has a limit to its chunks on disk",
            "over it the oldest chunk is dropped",
            "no storage.total_limit_size, and a disk that is watched",
        )
    if name == "forward" and not is_on(output.text("require_ack_response")):
        yield Finding(
            output.line_of("require_ack_response"),
            "loses",
            "output forward does not wait for an acknowledgement",
            "what is in the network's buffers when a connection breaks is gone",
            "require_ack_response: true",
        )
    if name == "http":
        yield from _http(output)


def _gives_up(limit: str) -> str:
    if limit.lower() == "no_retries":
        return "does not retry"
    return f"gives up after {limit or 1} " + ("retry" if limit in {"", "1"} else "retries")


def _http(output: Node) -> Iterator[Finding]:
    if output.text("format") in {"", "json", "json_lines", "json_stream"} and output.text("json_date_format") in {
        "",
        "double",
    }:
        yield Finding(
            output.line_of("json_date_format"),
            "distorts",
            "output http writes times as floating point seconds",
            "less than a microsecond is cut off, so that two events of one instant look the same",
            "json_date_format: iso8601",
        )


def _input(source: Node) -> Iterator[Finding]:
    if source.text("storage.type") == "memrb":
        yield Finding(
            source.line_of("storage.type"),
            "loses",
            f"input {source.text('name')} overwrites what waits",
            "memrb keeps chunks in memory, and drops the oldest when mem_buf_limit is reached",
            "storage.type: filesystem",
        )
    elif source.text("storage.type") != "filesystem":
        yield Finding(
            source.line_of("storage.type"),
            "loses",
            f"input {source.text('name')} keeps its chunks in memory",
            "a restart or crash loses what was not delivered" + _mem_limit(source),
            "storage.type: filesystem",
        )
    if source.text("name") == "tail" and source.value("db") is None:
        yield Finding(
            source.line_of("db"),
            "duplicates",
            "input tail forgets how far it has read",
            "without db a restart reads from the end (lost lines) or, with read_from_head, everything again",
            "db: /var/lib/fluent-bit/tail.db",
        )


def _mem_limit(source: Node) -> str:
    return "" if source.value("mem_buf_limit") is None else ", and over mem_buf_limit the input stops taking data"
