"""
Pairs of Prometheus servers: who counts, when that changes, and what is on disk of it.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api import Principal, RetryableError
from meterline.receivers.prometheus.elections import Elections
from meterline.testing.remote_write import Written, request_v1, sample

MS = 1_795_346_017_935


def of(replica: str, value: float = 1.0, cluster: str = "eu") -> Written:
    """
    Return a series as a replica writes it.
    """
    labels = {"__name__": "a_total", "cluster": cluster, "__replica__": replica}
    return Written({name: text for name, text in labels.items() if text}, [sample(value, MS)])


def terms(points: Any) -> list[int]:
    """
    Return the terms of points.
    """
    return [point.term for point in points]


def test_the_first_replica_counts_and_the_other_is_dropped(written: Any) -> None:
    """
    The election is durable with its first samples; what is dropped is counted, and answered like the rest.
    """
    site = written()

    (first,) = site.send([of("a")])

    assert first.term > 0
    assert len(site.disk) == 1
    assert site.send([of("b")]) == []
    assert site.endpoint.dropped == 1
    assert terms(site.send([of("a")])) == [first.term]


def test_another_one_counts_when_the_elected_one_was_silent(written: Any, clock: Any) -> None:
    """
    After failover_secs, not before; under a higher term; and the old one does not come back by itself.
    """
    site = written()
    (first,) = site.send([of("a")])
    clock.secs += 30
    assert site.send([of("b")]) == []
    clock.secs += 0.1

    (second,) = site.send([of("b")])

    assert second.term > first.term
    assert site.send([of("a")]) == []
    assert terms(site.send([of("b")])) == [second.term]


def test_samples_keep_the_elected_one_alive_even_when_they_are_refused(written: Any, clock: Any) -> None:
    """
    Silence is what fails over, not a ledger that is full.
    """
    site = written()
    site.send([of("a")])
    for _ in range(5):
        clock.secs += 20
        site.send([of("a")], stored=False)
        assert site.send([of("b")]) == []


def test_an_election_that_is_over_decides_nothing_when_it_is_stored_late(written: Any, clock: Any) -> None:
    """
    Its samples are in the books, under its term; who is elected now is still to be stored.
    """
    site = written()
    request = site.request(request_v1([of("a")]))
    decoded = site.endpoint.decode(request)
    clock.secs += 31
    site.send([of("b")], stored=False)

    site.store(request, decoded)

    with pytest.raises(RetryableError):
        site.send([of("a")])
    assert len(site.send([of("b")])) == 1
    assert site.send([of("a")]) == []


def test_silence_is_counted_from_when_the_election_was_stored(written: Any, clock: Any) -> None:
    """
    However long its commit takes, the elected one is not silent meanwhile.
    """
    site = written()
    request = site.request(request_v1([of("a")]))
    decoded = site.endpoint.decode(request)
    clock.secs += 20
    site.store(request, decoded)
    clock.secs += 20

    assert site.send([of("b")]) == []


def test_an_election_that_is_not_stored_changes_nothing_on_disk(written: Any, clock: Any) -> None:
    """
    While it is not known, the others are told to come again; the same replica goes on under the same term.
    """
    site = written()
    (first,) = site.send([of("a")])
    before = dict(site.disk)
    clock.secs += 31

    lost = terms(site.send([of("b")], stored=False))
    with pytest.raises(RetryableError):
        site.send([of("a")])
    again = terms(site.send([of("b")], stored=False))

    assert lost == again > [first.term]
    assert site.disk == before
    site.start()
    assert terms(site.send([of("a")])) == [first.term]


def test_an_election_that_is_never_stored_gives_way_to_whom_it_kept_waiting(written: Any, clock: Any) -> None:
    """
    A replica whose requests are refused (its principal's quota, say) must not keep a good one out.
    """
    site = written()
    site.send([of("a")])
    clock.secs += 31
    site.send([of("b")], stored=False)
    with pytest.raises(RetryableError):
        site.send([of("a")])
    clock.secs += 31
    with pytest.raises(RetryableError):
        site.send([of("b")], stored=False)

    (back,) = site.send([of("a")])

    assert terms(site.send([of("a")])) == [back.term]
    assert site.send([of("b")]) == []


def test_after_a_restart_the_remembered_one_has_time_to_come(written: Any, clock: Any) -> None:
    """
    The grace of failover_secs begins at the start; its term goes on.
    """
    site = written()
    (first,) = site.send([of("a")])
    clock.secs += 3600
    site.start()
    clock.secs += 29

    assert site.send([of("b")]) == []
    assert terms(site.send([of("a")])) == [first.term]
    clock.secs += 31
    assert terms(site.send([of("b")])) > [first.term]


def test_no_term_comes_twice_even_if_elections_are_forgotten(written: Any, clock: Any) -> None:
    """
    The kernel would take the skew between two writers of one term for a reset.
    """
    site = written(ha={"max_clusters": 1})
    seen = terms(site.send([of("a", cluster="one")]))
    for cluster in ("two", "three"):
        clock.secs += 31
        seen += terms(site.send([of("a", cluster=cluster)]))
    assert len(site.disk) == 1
    site.disk.clear()
    clock.secs += 31
    site.start()
    seen += terms(site.send([of("a", cluster="one")]))

    assert sorted(set(seen)) == seen


def test_a_request_that_mixes_clusters_is_judged_series_by_series(written: Any) -> None:
    """
    Each cluster has its own election; a series without a replica passes without a term.
    """
    site = written()
    site.send([of("a", cluster="one")])

    found = site.send(
        [of("b", 1, "one"), of("b", 2, "two"), of("a", 3, "one"), Written({"__name__": "x"}, [sample(4, MS)])]
    )

    assert sorted(point.value for point in found) == [2, 3, 4]
    assert [point.term for point in found if point.value == 4] == [0]
    assert len(set(terms(found))) == 3


def test_a_request_of_both_servers_elects_the_first_of_them(written: Any) -> None:
    """
    A proxy may put them together; refused until the election is stored, it never would be.
    """
    site = written()

    (found,) = site.send([of("a", 1), of("b", 2)])

    assert found.value == 1
    assert [point.value for point in site.send([of("b", 3), of("a", 4)])] == [4]


def test_all_elections_of_a_request_are_stored_with_it(written: Any) -> None:
    """
    A gateway in front of many clusters sends them together.
    """
    site = written()

    site.send([of("a", cluster="one"), of("a", cluster="two")])

    assert len(site.disk) == 2
    assert site.send([of("b", cluster="one"), of("b", cluster="two")]) == []


def test_a_replica_without_a_cluster_is_one_of_a_pair_all_the_same(written: Any) -> None:
    """
    Two writers of one stream would be billed as resets; the cluster without a name has its election.
    """
    site = written()

    assert len(site.send([of("a", cluster="")])) == 1
    assert site.send([of("b", cluster="")]) == []


def test_other_labels_can_be_named(written: Any) -> None:
    """
    The Prometheus operator's, for one.
    """
    site = written(ha={"cluster_label": "prometheus", "replica_label": "prometheus_replica"})
    both = [
        Written({"__name__": "a_total", "prometheus": "m/k8s", "prometheus_replica": name}, [sample(1.0, MS)])
        for name in ("k8s-0", "k8s-1")
    ]

    assert len(site.send([both[0]])) == 1
    assert site.send([both[1]]) == []


def test_only_principals_of_the_same_rights_share_an_election(written: Any) -> None:
    """
    Two keys of one pair may have two names; a key with other rights cannot silence its neighbour's pair.
    """
    site = written()
    pair = Principal("one", ("acme-*",)), Principal("two", ("acme-*",))
    stranger = Principal("three", ("evil",))

    assert len(site.send([of("a")], principal=pair[0])) == 1
    assert site.send([of("b")], principal=pair[1]) == []
    assert len(site.send([of("b")], principal=stranger)) == 1
    assert len(site.send([of("b")], principal=pair[1], tenant="other")) == 1
    assert len(site.send([of("b")], principal=Principal("four", ("acme-*",), ("t",)))) == 1


def test_a_failover_opens_no_cluster(written: Any, clock: Any) -> None:
    """
    However often a cluster changes its server, it counts once against the bound.
    """
    site = written(ha={"max_clusters": 2})
    for replica in "abab":
        clock.secs += 31
        site.send([of(replica, cluster="one")])

    assert len(site.send([of("a", cluster="two")])) == 1


def test_clusters_of_a_principal_are_bounded(written: Any, clock: Any) -> None:
    """
    One more than are alive is told to come again; silent ones make room; another principal has its own.
    """
    site = written(ha={"max_clusters": 2})
    for cluster in ("one", "two"):
        site.send([of("a", cluster=cluster)])
    with pytest.raises(RetryableError, match="max_clusters"):
        site.send([of("a", cluster="three")])
    assert len(site.send([of("a", cluster="three")], principal=Principal("else"))) == 1

    clock.secs += 31
    site.send([of("a", cluster="one")])
    assert len(site.send([of("a", cluster="four")])) == 1
    assert site.send([of("b", cluster="one")]) == []
    assert len(site.disk) == 3
    assert len(site.endpoint.elections) == 3


@given(data=st.data())
def test_a_term_belongs_to_one_replica(data: Any) -> None:
    """
    Whatever is sent, lost and restarted in whatever order: a term that is stored belongs to one replica for ever.
    """

    class Hand:
        secs = 0.0

        def now_ns(self) -> int:
            return int(self.secs * 1e9) + 10**18

        def monotonic(self) -> float:
            return self.secs

    clock, disk, owners = Hand(), {}, {}
    elections = Elections(disk, clock, 30.0, 10)
    in_flight: list[tuple[str, Any]] = []
    for _ in range(data.draw(st.integers(1, 30))):
        clock.secs += data.draw(st.sampled_from([0.0, 1.0, 10.0, 31.0]))
        action = data.draw(st.sampled_from(["send", "send", "send", "store", "lose", "restart"]))
        if action == "send":
            replica = data.draw(st.sampled_from("abc"))
            try:
                in_flight.append((replica, elections.ask(Principal("p"), "", "eu", replica)))
            except RetryableError:
                continue
        elif action == "store" and in_flight:
            replica, ballot = in_flight.pop(0)
            disk.update(ballot.remember)
            elections.stored(ballot.remember)
            if ballot.term:
                assert owners.setdefault(ballot.term, replica) == replica
        elif action == "lose" and in_flight:
            in_flight.pop(0)
        elif action == "restart":
            in_flight.clear()
            elections = Elections(disk, clock, 30.0, 10)
            clock.secs += 1
