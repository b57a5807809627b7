"""
Prometheus, and what speaks its configuration: Grafana Agent in static mode, Promtail.

Source: docs/configuration/configuration.md, storage/remote/client.go, tsdb/wlog/watcher.go (3.14); loki clients: pkg/promtail.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from meterline.doctor.findings import Finding
from meterline.doctor.tree import Node, is_off, is_on, is_zero

NAME: Final = "Prometheus"
AGENT_NAME: Final = "Grafana Agent (static mode)"
PROMTAIL_NAME: Final = "Promtail"

_V2: Final = "io.prometheus.write.v2"
_REPLICAS: Final = ("__replica__", "replica", "prometheus_replica")


def recognises(root: Node) -> bool:
    """
    Say whether this is a Prometheus config.
    """
    return root.at("remote_write") is not None or root.at("scrape_configs") is not None


def recognises_agent(root: Node) -> bool:
    """
    Say whether this is a static Grafana Agent config.
    """
    return (
        any(root.at(key, "configs") is not None for key in ("metrics", "logs"))
        or root.at("metrics", "global") is not None
    )


def recognises_promtail(root: Node) -> bool:
    """
    Say whether this is a Promtail config.
    """
    return root.at("clients") is not None


def findings(root: Node) -> Iterator[Finding]:
    """
    Look at every remote_write, and at the labels of a pair of replicas.
    """
    writes = root.list("remote_write")
    for write in writes:
        yield from remote_write(write)
    if writes:
        yield from replica(root.at("global", "external_labels"))


def agent_findings(root: Node) -> Iterator[Finding]:
    """
    Look at a static Grafana Agent config.
    """
    yield Finding(
        1,
        "loses",
        "Grafana Agent has reached its end of life (November 2025)",
        "nothing is mended in it any more",
        "Grafana Alloy, whose remote write and Loki components are the same code",
    )
    instances = [root.at("metrics", "global"), *root.list("metrics", "configs")]
    for instance in instances:
        for write in instance.list("remote_write") if instance is not None else ():
            yield from remote_write(write, retries_429=True)
    yield from replica(root.at("metrics", "global", "external_labels"))
    for instance in root.list("logs", "configs"):
        yield from _clients(instance.list("clients"))


def promtail_findings(root: Node) -> Iterator[Finding]:
    """
    Look at a Promtail config.
    """
    yield Finding(
        1,
        "loses",
        "Promtail has reached its end of life (March 2026)",
        "nothing is mended in it any more",
        "Grafana Alloy, whose Loki components are the same code, with a write-ahead log",
    )
    yield from _clients(root.list("clients"))


def remote_write(write: Node, *, retries_429: bool = False) -> Iterator[Finding]:
    """
    Look at one remote_write. ``retries_429``: what it does unless it is told.
    """
    queue = ("queue_config",)
    wanted = write.text(*queue, "retry_on_http_429")
    if is_off(wanted) or (not wanted and not retries_429):
        yield Finding(
            write.line_of(*queue, "retry_on_http_429"),
            "loses",
            "remote_write drops samples on a 429",
            "Meterline answers 503 instead, but a proxy between may not",
            "queue_config: {retry_on_http_429: true}",
        )
    limit = write.shown(*queue, "sample_age_limit")
    if limit and not is_zero(limit):
        yield Finding(
            write.line_of(*queue, "sample_age_limit"),
            "loses",
            f"remote_write drops samples older than {limit}",
            "an outage longer than that loses what counters counted before they restarted",
            "no sample_age_limit",
        )
    if is_off(write.text("metadata_config", "send")) and not write.text("protobuf_message").startswith(_V2):
        yield Finding(
            write.line_of("metadata_config", "send"),
            "distorts",
            "remote_write sends no metadata",
            "a counter whose name does not end in _total cannot be told from a gauge",
            "metadata_config: {send: true}, or name the counters in the receiver's `counters`",
        )


def replica(labels: Node | None) -> Iterator[Finding]:
    """
    Look at the labels by which the servers of a pair are told apart.
    """
    found = [key for key in _REPLICAS if labels is not None and key in labels.entries]
    if labels is None or not found:
        return
    if "cluster" not in labels.entries:
        yield Finding(
            labels.entries[found[0]].line,
            "duplicates",
            "a replica label without a cluster label",
            "the pair cannot be recognised as one: both replicas are metered",
            "external_labels: {cluster: NAME, __replica__: HOST}",
        )
    elif found[0] != "__replica__":
        yield Finding(
            labels.entries[found[0]].line,
            "duplicates",
            f"the replica label is `{found[0]}`",
            "the receiver looks for `__replica__` by default: both replicas are metered",
            f"external_labels: {{__replica__: HOST}}, or the receiver's ha: {{replica_label: {found[0]}}}",
        )


def _clients(clients: Sequence[Node]) -> Iterator[Finding]:
    for client in clients:
        retries = client.text("backoff_config", "max_retries")
        if retries != "0" and (not retries.isdigit() or int(retries) < 1_000_000):
            yield Finding(
                client.line_of("backoff_config", "max_retries"),
                "loses",
                f"the Loki client gives up after {retries or 10} retries",
                "a batch that could not be delivered within some minutes is dropped",
                "backoff_config: {max_retries: 1000000000}",
            )
        if is_on(client.text("drop_rate_limited_batches")):
            yield Finding(
                client.line_of("drop_rate_limited_batches"),
                "loses",
                "the Loki client drops batches on a 429",
                "a proxy between may answer 429",
                "drop_rate_limited_batches: false",
            )
