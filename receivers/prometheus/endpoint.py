"""
The one endpoint: remote write 1.0 and 2.0.
"""

import threading
from collections.abc import Mapping
from typing import Final, NamedTuple

from meterline.api import Answer, ReceiverContext, any_glob
from meterline.encodings.prometheus import Choose, Transcoded, Verdict, transcode
from meterline.encodings.prometheus_read import WriteRequest, read_v1, read_v2
from meterline.encodings.prometheus_series import SeriesReader, Shape
from meterline.encodings.prometheus_types import Kind, kind_by_name, kind_in_family, kind_of_type
from meterline.receivers.prometheus.config import PrometheusReceiverConfig
from meterline.receivers.prometheus.elections import Ballot, Elections
from meterline.receivers.prometheus.families import Families
from meterline.serving.codecs.implied import implied_snappy
from meterline.serving.seam import Decoded, Endpoint, Head, Refusal, Reply, Request

V1: Final = "prometheus.WriteRequest"
V2: Final = "io.prometheus.write.v2.Request"

_MEDIA_TYPES: Final = ("application/x-protobuf", "")
_WRITTEN: Final = "X-Prometheus-Remote-Write-{}-Written"


class Note(NamedTuple):
    """
    What ``answer`` wants to know of a decoded request again.
    """

    made: Transcoded
    elections: Mapping[str, bytes]
    families: Mapping[str, bytes]


class WriteEndpoint(Endpoint):
    """
    Takes write requests. ``dropped``: samples that were the copy of an elected replica's.
    """

    paths = ("/api/v1/write", "/api/v1/push")
    signal = "metrics"

    def __init__(self, config: PrometheusReceiverConfig, context: ReceiverContext) -> None:
        ha = config.ha
        self._limit = config.max_request_bytes
        self._log = context.log
        self._reader = SeriesReader(None if ha is None else (ha.cluster_label, ha.replica_label))
        self._is_counter, self._is_gauge = any_glob(config.counters), any_glob(config.gauges)
        self.families = Families(context.state, config.max_families)
        self.elections = (
            None if ha is None else Elections(context.state, context.clock, ha.failover_secs, ha.max_clusters)
        )
        self.dropped = 0
        self._counting = threading.Lock()

    def accepts(self, head: Head) -> bool:
        """
        Say whether it is one of the two versions; no type at all is 1.0, as Prometheus itself has it.
        """
        return head.media_type in _MEDIA_TYPES and head.media_params.get("proto", V1) in {V1, V2}

    def decode(self, request: Request) -> Decoded:
        """
        Make transcoded metrics of the samples that count, and remember what metadata and elections say.
        """
        written = self._read(request)
        learned = (
            self.families.learn(request.principal.name, request.tenant, written.families) if written.families else {}
        )
        chooser = _Chooser(self, request)
        made = transcode(written, request.tenant, chooser.choose, 2 * self._limit)
        note = Note(made, chooser.remember, learned)
        return Decoded(made.bodies, {**learned, **chooser.remember}, note)

    def _read(self, request: Request) -> WriteRequest:
        body = request.body
        if not request.head.headers.get("content-encoding"):
            body = implied_snappy(body, self._limit)
        return read_v2(body, self._reader) if _is_v2(request.head) else read_v1(body, self._reader)

    def answer(self, request: Request, decoded: Decoded, answer: Answer) -> Reply:
        """
        Answer 204. Written is all that is in the books: recorded, in quarantine, known before, or an elected replica's already.
        """
        note = decoded.note
        told = {"X-Meterline-Quarantined": str(answer.rejected)} if answer.rejected else {}
        if not isinstance(note, Note):  # quarantined whole
            return Reply(204, headers={**told, **_written(request.head, 0, 0)})
        with self._counting:
            self.dropped += note.made.dropped
        self.families.stored(note.families)
        for term in () if self.elections is None else self.elections.stored(note.elections):
            self._log.info("another replica of a pair counts now", term=term, principal=request.principal.name)
        return Reply(204, headers={**told, **_written(request.head, note.made.samples, note.made.histograms)})

    def refuse(self, head: Head, refusal: Refusal) -> Reply:
        """
        Say why in plain text, which Prometheus logs.
        """
        text = refusal.message.encode() + b"\n"
        return Reply(refusal.cause.value, text, "text/plain; charset=utf-8", _written(head, 0, 0))

    def kind(self, shape: Shape, request: Request) -> Kind:
        """
        Say what series of a shape are: as the config says, the series itself, metadata of its family, or its name.
        """
        if self._is_gauge(shape.name):
            return "gauge"
        if self._is_counter(shape.name):
            return "counter"
        kind = kind_of_type(shape.name, shape.metric_type, quantile=shape.quantile)
        if kind == "unknown":
            kind = kind_in_family(shape.name, self.families.types(request.principal.name, request.tenant))
        return kind_by_name(shape.name) if kind == "unknown" else kind


class _Chooser:
    """
    The choices of one request: each replica is asked for once. ``remember``: what must be stored with its samples.
    """

    def __init__(self, endpoint: WriteEndpoint, request: Request) -> None:
        self._endpoint = endpoint
        self._request = request
        self._ballots: dict[tuple[str, str], Ballot] = {}
        self._winners: dict[str, str] = {}
        self.remember: dict[str, bytes] = {}
        self.choose: Choose = self._choose

    def _choose(self, shape: Shape) -> Verdict | None:
        term = 0
        if shape.replica:
            term = self._ballot(shape.cluster, shape.replica).term
            if not term:
                return None
        return Verdict(self._endpoint.kind(shape, self._request), term)

    def _ballot(self, cluster: str, replica: str) -> Ballot:
        ballot = self._ballots.get((cluster, replica))
        if ballot is None:
            ballot = self._ballots[cluster, replica] = self._asked(cluster, replica)
            self.remember.update(ballot.remember)
        return ballot

    def _asked(self, cluster: str, replica: str) -> Ballot:
        """
        Ask, unless this very request elected another one: that would be undecided until it is stored, which it then never is.
        """
        if self._winners.get(cluster, replica) != replica:
            return Ballot(0)
        elections = self._endpoint.elections
        assert elections is not None  # noqa: S101 - without pairs no series has a replica
        ballot = elections.ask(self._request.principal, self._request.tenant, cluster, replica)
        if ballot.term:
            self._winners[cluster] = replica
        return ballot


def _is_v2(head: Head) -> bool:
    return head.media_params.get("proto") == V2


def _written(head: Head, samples: int, histograms: int) -> dict[str, str]:
    """
    Return the headers that 2.0 wants with every answer. Exemplars are never kept: they are inside the totals already.
    """
    counts = {"Samples": samples, "Histograms": histograms, "Exemplars": 0}
    return {} if not _is_v2(head) else {_WRITTEN.format(name): str(count) for name, count in counts.items()}
