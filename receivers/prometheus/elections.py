"""
Which server of a pair counts: one is elected, the others' samples are the copy of what it sends.

An election is durable in the same commit as the first samples it lets in; until that is known, the others are told to send
again. Each election has a number of its own, its term, higher than all before it, so that the kernel sees that a series has
another writer now (docs/transcoding.md). Terms count on from the seconds since 1970 at the start of the receiver, or from the
highest that is remembered: so none comes again, though elections of silent clusters are forgotten.
"""

import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from meterline.api import Clock, Principal, RetryableError

_PREFIX: Final = "ha:"
_UNDECIDED_SECS: Final = 1.0


class Seat(NamedTuple):
    """
    What an election is about. ``rights``: the customers and tenants that the principal may write for, as JSON.

    Two keys with the same rights share elections; one with others can neither win nor lose those of its neighbours.
    """

    rights: str
    tenant: str
    cluster: str


@dataclass(slots=True)
class Election:
    """
    ``since``, ``seen``: when it was held, and when the elected one was heard of last, monotonic.

    ``stored``: it is on disk. ``challenger``: who was refused meanwhile.
    """

    replica: str
    term: int
    owner: str
    since: float
    seen: float
    stored: bool = False
    challenger: str = ""


class Ballot(NamedTuple):
    """
    ``term`` 0: this replica does not count. ``remember``: what must be stored with its samples.
    """

    term: int
    remember: Mapping[str, bytes] = MappingProxyType({})


class Elections:
    """
    All elections of a receiver. Any thread.
    """

    def __init__(self, state: Mapping[str, bytes], clock: Clock, failover_secs: float, max_clusters: int) -> None:
        """
        The remembered ones hold, and each has ``failover_secs`` from now to be heard of.
        """
        self._clock = clock
        self._failover = failover_secs
        self._max = max_clusters
        self._lock = threading.Lock()
        self._held: OrderedDict[Seat, Election] = OrderedDict()
        self._owners: Counter[str] = Counter()
        self._leaving: dict[str, bytes] = {}
        now = clock.monotonic()
        for key, value in state.items():
            if key.startswith(_PREFIX):
                said = json.loads(value)
                seat = Seat(*json.loads(key.removeprefix(_PREFIX)))
                self._held[seat] = Election(said["replica"], said["term"], said["owner"], now, now, stored=True)
                self._owners[said["owner"]] += 1
        self._last_term = max((held.term for held in self._held.values()), default=0)
        self._last_term = max(self._last_term, clock.now_ns() // 10**9)

    def ask(self, principal: Principal, tenant: str, cluster: str, replica: str) -> Ballot:
        """
        Say whether a replica counts, electing it where nobody was, or where the elected one is silent.

        :raises RetryableError: it cannot be said now.
        """
        seat = Seat(json.dumps([principal.customers, principal.tenants]), tenant, cluster)
        now = self._clock.monotonic()
        with self._lock:
            held = self._held.get(seat)
            if held is None:
                return self._elect(seat, replica, principal.name, now)
            if not held.stored:
                return self._undecided(seat, held, replica, now)
            if held.replica == replica:
                held.seen = now
                return Ballot(held.term)
            if now - held.seen <= self._failover:
                return Ballot(0)
            return self._elect(seat, replica, principal.name, now)

    def _undecided(self, seat: Seat, held: Election, replica: str, now: float) -> Ballot:
        """
        Answer while it is not known whether an election is on disk. One that is not confirmed in time gives way to whom it
        kept waiting, since what keeps it from being stored may be the fault of its own sender.
        """
        lapsed = now - held.since > self._failover
        if lapsed:
            held = self._stand(seat, held.challenger or replica, held.owner, now)
        if held.replica == replica:
            return Ballot(held.term, self._to_remember(seat, held))
        held.challenger = replica
        raise RetryableError("an election between replicas is under way; send the same again", _UNDECIDED_SECS)

    def _elect(self, seat: Seat, replica: str, owner: str, now: float) -> Ballot:
        if seat not in self._held and self._owners[owner] >= self._max:
            self._make_room(owner, now)
        held = self._stand(seat, replica, owner, now)
        return Ballot(held.term, self._to_remember(seat, held))

    def _stand(self, seat: Seat, replica: str, owner: str, now: float) -> Election:
        self._last_term += 1
        before = self._held.pop(seat, None)
        if before is not None:
            self._owners[before.owner] -= 1
        held = self._held[seat] = Election(replica, self._last_term, owner, now, now)
        self._owners[owner] += 1
        return held

    def _make_room(self, owner: str, now: float) -> None:
        """
        Forget a silent election of this principal; on its return the cluster is elected anew, under a new term.
        """
        for seat, held in self._held.items():
            if held.owner == owner and now - max(held.seen, held.since) > self._failover:
                del self._held[seat]
                self._owners[owner] -= 1
                self._leaving[_key(seat)] = b""
                return
        raise RetryableError(
            f"principal {owner!r} sends from more than {self._max} clusters; raise ha.max_clusters", self._failover
        )

    def _to_remember(self, seat: Seat, held: Election) -> dict[str, bytes]:
        said = {"replica": held.replica, "term": held.term, "owner": held.owner}
        self._leaving.pop(_key(seat), None)
        return {**self._leaving, _key(seat): json.dumps(said).encode()}

    def stored(self, remembered: Mapping[str, bytes]) -> list[int]:
        """
        Note that what a ballot had to be remembered is on disk; return the terms that are decided by that.
        """
        decided = []
        with self._lock:
            for key, value in remembered.items():
                seat = Seat(*json.loads(key.removeprefix(_PREFIX)))
                held = self._held.get(seat)
                if not value:
                    self._leaving.pop(key, None)
                elif held is not None and not held.stored and held.term == json.loads(value)["term"]:
                    held.stored, held.seen = True, self._clock.monotonic()
                    decided.append(held.term)
        return decided

    def __len__(self) -> int:
        """
        Return how many there are.
        """
        return len(self._held)


def _key(seat: Seat) -> str:
    return _PREFIX + json.dumps(list(seat))
