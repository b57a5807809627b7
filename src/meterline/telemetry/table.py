"""
The one table of Meterline's own metrics. ``docs/metrics.md`` is made from it, and a sample that is not in it is a bug.

Names follow the Collector's with our prefix, so that dashboards transfer. Prometheus adds ``_total`` to counters.
No label ever holds a customer: labels come from the config or from fixed sets, so their number is bounded.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric: a counter never falls while the process lives; a gauge is a reading.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[str, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """
        Return the name on the Prometheus page.
        """
        return f"{self.name}_total" if self.kind == "counter" else self.name


_RECEIVER = ("receiver", "transport")
_SIGNAL = (*_RECEIVER, "signal")
_NAMED = ("receiver",)

_PROCESS = (
    Metric("meterline_process_uptime_seconds", "gauge", "s", "Time since the process started."),
    Metric("meterline_process_cpu_seconds", "counter", "s", "Processor time used by this process."),
    Metric("meterline_process_memory_rss_bytes", "gauge", "By", "Resident memory of this process."),
    Metric("meterline_process_open_files", "gauge", "", "Open file descriptors of this process."),
    Metric("meterline_process_threads", "gauge", "", "Threads of this process."),
    Metric(
        "meterline_build_info",
        "gauge",
        "",
        "Always 1; what runs stands in the labels.",
        ("version", "kernel", "python"),
    ),
)

_UNITS = {
    "metric_points": "Metric points",
    "log_records": "Log records",
    "events": "Events",
    "usage_records": "Usage records",
}


def _counted(unit: str, words: str) -> tuple[Metric, ...]:
    """
    Return what a receiver counts of one kind of item.
    """
    what = {
        "accepted": f"{words} stored and not in quarantine.",
        "quarantined": f"{words} stored in quarantine.",
        "refused": f"{words} of requests that were not stored, as far as they were read.",
    }
    return tuple(
        Metric(f"meterline_receiver_{name}_{unit}", "counter", "", text, _RECEIVER) for name, text in what.items()
    )


_RECEIVERS = (
    *(metric for unit, words in _UNITS.items() for metric in _counted(unit, words)),
    Metric(
        "meterline_receiver_requests",
        "counter",
        "",
        "Requests by what they were answered: ok, partial_success, or why they were refused.",
        (*_SIGNAL, "outcome"),
    ),
    Metric("meterline_receiver_received_bytes", "counter", "By", "Bytes of requests as they came.", _SIGNAL),
    Metric("meterline_receiver_stored_bytes", "counter", "By", "Bytes of stored requests, decompressed.", _SIGNAL),
    Metric("meterline_receiver_in_flight_bytes", "gauge", "By", "Bytes of requests being handled.", _RECEIVER),
    Metric("meterline_receiver_waiting_requests", "gauge", "", "Requests that wait for a thread.", _RECEIVER),
    Metric("meterline_receiver_threads", "gauge", "", "Threads that handle requests.", _RECEIVER),
    Metric("meterline_receiver_connections", "gauge", "", "Open connections.", _RECEIVER),
    Metric(
        "meterline_receiver_refused_connections", "counter", "", "Connections over max_connections, closed.", _RECEIVER
    ),
    Metric(
        "meterline_receiver_expired_connections", "counter", "", "Connections closed because they were slow.", _RECEIVER
    ),
    Metric(
        "meterline_receiver_key_used_seconds",
        "gauge",
        "s",
        "When a key of `auth` was last right here, since the Unix epoch; 0: not since the start.",
        (*_RECEIVER, "key", "place"),
    ),
    Metric(
        "meterline_receiver_certificate_expires_seconds",
        "gauge",
        "s",
        "When the certificate ends, since the Unix epoch.",
        _RECEIVER,
    ),
    Metric(
        "meterline_receiver_certificate_reloads",
        "counter",
        "",
        "Times that changed TLS files were taken up.",
        _RECEIVER,
    ),
    Metric(
        "meterline_receiver_certificate_reload_failures",
        "counter",
        "",
        "Times that changed TLS files could not be used; the old ones stay in use.",
        _RECEIVER,
    ),
    Metric("meterline_receiver_files", "gauge", "", "Files that a files receiver reads.", _NAMED),
    Metric("meterline_receiver_file_bytes", "gauge", "By", "Bytes of these files.", _NAMED),
    Metric("meterline_receiver_file_read_bytes", "gauge", "By", "Bytes of these files read since the start.", _NAMED),
    Metric("meterline_receiver_file_lines", "counter", "", "Lines stored.", _NAMED),
    Metric("meterline_receiver_file_points", "counter", "", "Points and log records of these lines.", _NAMED),
    Metric("meterline_receiver_file_rejected", "counter", "", "Of them in quarantine.", _NAMED),
)

_PROMETHEUS = (
    Metric(
        "meterline_prometheus_replica_samples_dropped",
        "counter",
        "",
        "Samples that were the copy of what the elected server of a pair sends.",
        ("receiver",),
    ),
    Metric("meterline_prometheus_clusters", "gauge", "", "Pairs of servers of which one is elected.", ("receiver",)),
    Metric("meterline_prometheus_families", "gauge", "", "Metric families whose type is remembered.", ("receiver",)),
)

_INTAKE = (
    Metric(
        "meterline_intake_points",
        "counter",
        "",
        "Points by what became of them: recorded, quarantined, duplicate, no_usage, unmatched.",
        ("receiver", "signal", "outcome"),
    ),
    Metric("meterline_intake_quarantined_points", "counter", "", "Points in quarantine by reason code.", ("reason",)),
    Metric("meterline_intake_undecodable_requests", "counter", "", "Requests refused as broken.", ("receiver",)),
    Metric("meterline_intake_refused_requests", "counter", "", "Requests told to come again, by reason.", ("reason",)),
    Metric("meterline_intake_internal_errors", "counter", "", "Errors that nobody expected; any is worth a report."),
    Metric("meterline_intake_in_flight_bytes", "gauge", "By", "Bytes of bodies between door and answer."),
    Metric("meterline_intake_queue_size", "gauge", "", "Bodies and jobs that wait for the writer."),
)

_STATE = (
    Metric("meterline_state_resident_streams", "gauge", "", "Streams in memory."),
    Metric("meterline_state_idle_streams", "gauge", "", "Streams moved to disk; they come back when they send again."),
    Metric("meterline_state_dedupe_ids", "gauge", "", "Identities kept to recognise repeats."),
    Metric("meterline_state_digests", "gauge", "", "Digests of requests kept to recognise repeats."),
    Metric("meterline_state_cached_shapes", "gauge", "", "Distinct projections whose verdict is remembered."),
    Metric("meterline_state_open_raw_entries", "gauge", "", "Quarantined points that a resend would meet again."),
)

_LEDGER = (
    Metric("meterline_ledger_commits", "counter", "", "Transactions committed and synced."),
    Metric("meterline_ledger_commit_seconds", "counter", "s", "Time spent in transactions, their sync included."),
    Metric("meterline_ledger_sync_seconds", "counter", "s", "Time spent in COMMIT alone: the log written and synced."),
    Metric("meterline_ledger_commit_failures", "counter", "", "Transactions that failed and were undone."),
    Metric("meterline_ledger_full", "counter", "", "Times that the disk was full or the size limit was reached."),
    Metric("meterline_ledger_checkpoints", "counter", "", "Times that the log was brought into the main file."),
    Metric("meterline_ledger_checkpoint_seconds", "counter", "s", "Time spent in checkpoints."),
    Metric("meterline_ledger_frames", "counter", "", "Frames stored."),
    Metric("meterline_ledger_stored_bytes", "counter", "By", "Bytes of frames stored, compressed."),
    Metric("meterline_ledger_used_bytes", "gauge", "By", "Bytes of pages in use; what ledger.max_bytes limits."),
    Metric("meterline_ledger_free_bytes", "gauge", "By", "Bytes of pages that are free for reuse."),
    Metric("meterline_ledger_wal_bytes", "gauge", "By", "Size of the log beside the main file."),
    Metric("meterline_ledger_corrupt_frames", "gauge", "", "Frames that failed their checksum; any is an alarm."),
    Metric("meterline_ledger_reserve_held", "gauge", "", "1 while the room kept back for bookkeeping is there."),
    Metric("meterline_ledger_quarantine_open", "gauge", "", "Open quarantine entries by reason code.", ("reason",)),
)


def _exporter(name: str, kind: Kind, description: str, unit: str = "") -> Metric:
    return Metric(f"meterline_exporter_{name}", kind, unit, description, ("exporter",))


_EXPORTERS = (
    _exporter(
        "delivered_records", "counter", "Records that the backend has; kept in the ledger, a restart loses nothing."
    ),
    _exporter("excluded_records", "counter", "Records passed over by `only`."),
    _exporter("send_attempts", "counter", "Sends begun."),
    _exporter("pending_records", "gauge", "Records that wait for this exporter."),
    _exporter("pending_batches", "gauge", "Batches formed and not settled."),
    _exporter("lag_records", "gauge", "Records not yet put into a batch."),
    _exporter("held_records", "gauge", "Records that wait for a person."),
    _exporter("dead_records", "gauge", "Records given up and kept."),
    _exporter("void_records", "gauge", "Records withdrawn by a correction."),
    _exporter("oldest_pending_seconds", "gauge", "Age of the oldest record that waits.", "s"),
    _exporter("paused", "gauge", "1 while the exporter waits for a person to act."),
    _exporter("connected", "gauge", "1 while the exporter is connected."),
)

METRICS: tuple[Metric, ...] = (*_PROCESS, *_RECEIVERS, *_PROMETHEUS, *_INTAKE, *_STATE, *_LEDGER, *_EXPORTERS)
