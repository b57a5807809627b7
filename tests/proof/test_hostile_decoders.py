"""
Every decoder in this process, given what hostile senders make of valid requests: it refuses as documented, or makes bodies that
the kernel takes; never anything else, and never for long.
"""

import random
import time
from collections import Counter
from pathlib import Path

import cramjam
import pytest

from meterline.testing.cost import cpu_secs
from meterline.testing.hostile import MAX_BYTES, mutated_request, valid
from meterline.testing.hostile_doors import Doors, RefusedError
from meterline.testing.hostile_seeds import Seed, seeds
from meterline.testing.hostile_trees import VALUES, json_text
from meterline.testing.remote_write import Written, request_v1, sample
from meterline.testing.wires import WIRES, Request

NOW = 1_795_000_000 * 10**9
MAX_SECS = 5.0  # for one request of 256 KiB at most; what is usual is a millisecond


@pytest.fixture(scope="module")
def doors() -> Doors:
    """Every decoder, and a kernel behind them."""
    return Doors()


def knock(doors: Doors, seed: Seed, request: Request, tmp_path: Path) -> bool:
    """Say whether a request was taken; whatever is no documented refusal is left in a file, and fails the test."""
    taken = True
    found: list[str] = []

    def once() -> None:
        nonlocal taken
        try:
            doors.knock(seed.wire, request)
        except RefusedError:
            taken = False
        except Exception as error:  # noqa: BLE001 - told with what caused it
            found.append(repr(error))

    secs = cpu_secs(once)
    if found or secs > MAX_SECS:
        kept = tmp_path / "body"
        kept.write_bytes(request.body)
        pytest.fail(f"{seed.wire.name} {request.path} {dict(request.headers)} {kept}: {secs:.1f} s, {found}")
    return taken


def bombard(doors: Doors, rng: random.Random, tmp_path: Path, secs: float) -> Counter[tuple[str, bool]]:
    """Mutate and decode for so much CPU time; return what was taken and refused, by wire."""
    found: Counter[tuple[str, bool]] = Counter()
    known = seeds(NOW)
    requests = [seed.request for seed in known]
    until = time.thread_time() + secs
    while time.thread_time() < until:
        seed = rng.choice(known)
        request = mutated_request(rng, seed.request, requests)
        assert len(request.body) <= 2 * MAX_BYTES
        found[seed.wire.name, knock(doors, seed, request, tmp_path)] += 1
    return found


def test_every_seed_is_valid(doors: Doors, tmp_path: Path) -> None:
    """What mutations begin with is taken by every receiver, so that they reach what is behind the parsers."""
    for seed in seeds(NOW):
        assert knock(doors, seed, seed.request, tmp_path), seed


def test_mutants(doors: Doors, rng: random.Random, tmp_path: Path) -> None:
    """Thousands of mutated requests over every wire: documented refusals only, and each wire takes some and refuses some."""
    found = bombard(doors, rng, tmp_path, 4)
    assert found.total() > 200
    assert {taken for _, taken in found} == {True, False}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_mutants(doors: Doors, rng: random.Random, tmp_path: Path) -> None:
    """The same for longer, so that every wire has its share."""
    found = bombard(doors, rng, tmp_path, 45)
    assert {wire for wire, taken in found if taken} >= {wire.name for wire in WIRES if wire.transport != "file"}


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_hostile_values_in_every_place(doors: Doors, number: int, tmp_path: Path) -> None:
    """Each hostile value in the place of the amount, the customer, the time and the id, over every wire that speaks JSON."""
    value = json_text(VALUES[number])
    for seed in seeds(NOW):
        if seed.request.body[:1] not in b"{[":
            continue
        for old in (b'"1"', b"1.0", b'"mutant"', b'"2026-11-18T11:06:40.000Z"', b"1795000000000", b'"acme"'):
            body = seed.request.body.replace(old, value)
            knock(doors, seed, Request(seed.request.path, body, seed.request.headers), tmp_path)


def test_two_replicas_in_the_first_request_of_a_cluster(doors: Doors, tmp_path: Path) -> None:
    """One of them is elected and the other one's samples are its copy: nothing waits for an election that never ends."""
    wire = next(wire for wire in WIRES if wire.receiver == "prometheus")
    labels = {"__name__": "units_total", "customer": "c", "cluster": "of two"}
    series = [Written({**labels, "__replica__": name}, [sample(1, NOW // 10**6)]) for name in "ab"]
    body = bytes(cramjam.snappy.compress_raw(request_v1(series)))
    assert knock(
        doors, Seed(wire, valid(wire, "c")), Request("/api/v1/write", body, valid(wire, "c").headers), tmp_path
    )
