"""
What senders do by themselves: the facts that no config of theirs shows, for people and for docs/senders.md.

Measured against a real gateway where the sender installs (tests/peers), else read in its source.
"""

from typing import Final, NamedTuple


class Habit(NamedTuple):
    """
    One sender. ``gives_up``: when it drops what it could not deliver; ``keeps``: where it keeps what waits; ``repeat``: what a
    resend is told by; ``setting``: what makes it lose nothing, or the least.
    """

    sender: str
    gives_up: str
    keeps: str
    repeat: str
    setting: str


HABITS: Final = (
    Habit(
        "OpenTelemetry Collector, Grafana Alloy",
        "after 5 minutes",
        "in memory, 1,000 batches",
        "the points themselves",
        "max_elapsed_time 0, a queue on disk with fsync, block_on_overflow",
    ),
    Habit(
        "OpenTelemetry SDKs, Micrometer",
        "after the export timeout, 10 s; JavaScript over gRPC and Micrometer: at once",
        "nothing; a cumulative counter comes again with the next export",
        "the points themselves",
        "cumulative temporality, and a Collector with a queue on disk between for logs and deltas",
    ),
    Habit(
        "rotel",
        "after 5 minutes",
        "in memory",
        "the points themselves",
        "a Collector as the last hop, or counters only",
    ),
    Habit(
        "Vector",
        "never",
        "in memory, 500 events",
        "source_event_id with the sink vector; an id in the event with http",
        "acknowledgements, a disk buffer (synced every 500 ms), when_full block",
    ),
    Habit("Logstash", "never", "in memory", "an id in the event", "a persisted queue, and a uuid filter"),
    Habit(
        "Fluent Bit",
        "after one retry",
        "in memory",
        "the points themselves; an id in the event",
        "retry_limit no_limits, storage.type filesystem; 5.1.1 and older lose on a 429, as of a proxy",
    ),
    Habit(
        "Fluentd",
        "after 72 hours",
        "in memory unless the buffer is a file",
        "the chunk; an id in the event",
        "require_ack_response, a file buffer, retry_forever",
    ),
    Habit(
        "Prometheus",
        "never on 503; what is older than about 2 hours is gone",
        "in its write-ahead log, but not across a restart",
        "the samples themselves",
        "counters only; retry_on_http_429; two replicas with cluster and __replica__ labels",
    ),
    Habit(
        "Loki clients: Promtail, Grafana Agent, Alloy",
        "after 10 retries",
        "in memory",
        "the line with its time and labels; an id in its structured metadata",
        "a high max_retries, the write-ahead log of Alloy",
    ),
    Habit(
        "pino-loki",
        "at once, or when its process ends",
        "in memory",
        "the line with its time and labels",
        "write to a file, and an agent that follows it",
    ),
    Habit(
        "fluent-logger (Python), @fluent-org/logger",
        "when its buffer is full, or its process ends",
        "in memory; the Python one waits for no acknowledgement",
        "an id in the event",
        "@fluent-org/logger with ack; or Fluent Bit between, with a queue on disk",
    ),
    Habit(
        "Amplitude SDKs",
        "Python: after 12 tries, about 9 s, or when a connection breaks; Node: at once when a connection is refused or breaks",
        "in memory",
        "insert_id",
        "flush at the end, a set insert_id; usage that must not be lost goes through an agent or `meterline record`",
    ),
    Habit(
        "Mixpanel SDKs",
        "Python: after 4 tries, over https only; Node: at once",
        "nothing",
        "$insert_id (Python sets one; Node does not)",
        "handle the raised error or the callback, and send again with the same $insert_id and time",
    ),
    Habit(
        "curl, your own code",
        "as you write it",
        "as you write it",
        "Idempotency-Key",
        "retry on 503, with the same key",
    ),
)
