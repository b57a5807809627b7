"""
Bad weather, one kind at a time, against a real gateway process: each is answered as promised, and its neighbours pass.
"""

import gzip
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meterline.testing.evidence import check_balance, ledger_rows
from meterline.testing.process import GatewayProcess, wait_until
from meterline.testing.sender import OtlpClient, was_answered
from meterline.testing.site import Site
from meterline.testing.workload import CUMULATIVE, attribute, number_point, sum_body

MIB = 1_048_576
GOOD = "good-token"
KEYS = f"auth: {{keys: [{{name: shop, token: {GOOD}, customers: ['acme*']}}]}}"


class Weather:
    """
    A running gateway, a client, and an epoch that began after its rules were committed.
    """

    def __init__(self, site: Site, token: str | None = None) -> None:
        site.gateway.start()
        self.site = site
        self.epoch = time.time_ns()
        self.client = OtlpClient(site.target, token)

    def body(self, *readings: tuple[str | None, float], instance: str = "one", at: int = 1) -> bytes:
        """
        Encode one counter reading a customer, ``at`` milliseconds after the epoch.
        """
        points = [number_point(customer, self.epoch, self.epoch + at * 10**6, value) for customer, value in readings]
        return sum_body("proof.cumulative", CUMULATIVE, points, instance)

    def refused(self, body: bytes) -> grpc.RpcError:
        """
        Send what must be refused, and return the refusal.
        """
        with pytest.raises(grpc.RpcError) as caught:
            self.client.send("metrics", body)
        return caught.value

    def reasons(self) -> dict[str, int]:
        """
        Return the quarantine by reason; the command line must list the same reasons.
        """
        with ledger_rows(self.site.folder) as ledger:
            found = dict(ledger.execute("SELECT reason, sum(open) FROM quarantine GROUP BY reason").fetchall())
        assert {row["reason"] for row in self.site.quarantine()} == set(found)
        return found

    def settle(self, **expected: float | str) -> None:
        """
        The customers' totals must be exactly these, in ledger and file, and the balance must hold.
        """
        self.client.close()
        self.site.settle({(customer, "cumulative"): Decimal(str(value)) for customer, value in expected.items()})
        check_balance(self.site.folder)


@pytest.fixture
def weather(tmp_path: Path) -> Iterator[Weather]:
    """
    Start a gateway with the usual rules.
    """
    site = Site(tmp_path)
    with site.gateway:
        yield Weather(site)


@pytest.mark.parametrize("broken", ["rules: [}", "receivers: {otlp: {grpc: {endpont: 127.0.0.1:1}}}", "ledgr: {}"])
def test_wrong_config(tmp_path: Path, broken: str) -> None:
    """
    A config that cannot be used ends the start with exit code 78 and says where, and nothing is left behind.
    """
    config = tmp_path / "meterline.yaml"
    config.write_text(f"ledger: {{path: ./meterline.db}}\n{broken}\n", encoding="utf-8")
    gateway = GatewayProcess(config, [])
    gateway.start(ready_secs=None)
    assert gateway.wait(20)
    assert gateway.returncode == 78, gateway.output()
    assert "meterline.yaml:2:" in gateway.output()
    assert not (tmp_path / "meterline.db").exists()


def test_wrong_token(tmp_path: Path) -> None:
    """
    A wrong key is refused for good, a good one passes; a customer it may not write for is quarantined alone.
    """
    site = Site(tmp_path, grpc=KEYS)
    with site.gateway:
        good = Weather(site, GOOD)
        bad = OtlpClient(site.target, "bad-token")
        with pytest.raises(grpc.RpcError) as caught:
            bad.send("metrics", good.body(("acme", 1)))
        bad.close()
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert good.client.send("metrics", good.body(("acme-1", 5), ("other", 7))) == 1
        assert good.reasons() == {"forbidden_customer": 1}
        good.settle(**{"acme-1": 5})


def test_undecodable_body(weather: Weather) -> None:
    """
    A body whose wire structure is broken is refused whole, for good; the requests around it are stored.
    """
    assert weather.client.send("metrics", weather.body(("a", 1))) == 0
    body = weather.body(("a", 2), at=2)
    for broken in (body[:-3], b"\x0a\xff\xff\xff\xff\x7f", b"\x00"):
        assert weather.refused(broken).code() == grpc.StatusCode.INVALID_ARGUMENT
    assert weather.client.send("metrics", weather.body(("a", 4), at=3)) == 0
    weather.settle(a=4)


def test_deep_nesting(weather: Weather) -> None:
    """
    An attribute nested 200 levels deep puts its point in quarantine, and no other.
    """
    request = ExportMetricsServiceRequest.FromString(weather.body(("a", 1), ("deep", 2), ("b", 3)))
    value = _nested(200)
    point = request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[1]
    tail = b"\x3a" + _sized(b"\x0a\x04deep" + b"\x12" + _sized(value))
    body = _with_point(request, point.SerializeToString() + tail)
    assert weather.client.send("metrics", body) == 1
    assert weather.reasons() == {"too_deep": 1}
    weather.settle(a=1, b=3)


def _sized(data: bytes) -> bytes:
    size, out = len(data), bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size]) + data


def _nested(levels: int) -> bytes:
    """
    Encode an AnyValue of arrays within arrays: upb itself would refuse to parse it.
    """
    value = b"\x0a\x01x"
    for _ in range(levels):
        value = b"\x2a" + _sized(b"\x0a" + _sized(value))
    return value


def _with_point(request: ExportMetricsServiceRequest, point: bytes) -> bytes:
    """
    Encode the request with its second point replaced by these bytes.
    """
    resource = request.resource_metrics[0]
    metric = resource.scope_metrics[0].metrics[0]
    first, _, third = (point.SerializeToString() for point in metric.sum.data_points)
    points = b"".join(b"\x0a" + _sized(item) for item in (first, point, third))
    head = b"\x0a" + _sized(metric.name.encode()) + b"\x1a" + _sized(metric.unit.encode())
    encoded = head + b"\x3a" + _sized(points + b"\x10\x02\x18\x01")
    scope = b"\x12" + _sized(b"\x12" + _sized(encoded))
    return b"\x0a" + _sized(b"\x0a" + _sized(resource.resource.SerializeToString()) + scope)


def test_sixty_four_mebibytes(weather: Weather) -> None:
    """
    A request over 64 MiB is refused for good, one just below passes, and so does the neighbour on the same connection.
    """
    over = weather.refused(_padded(weather.body(("big", 1)), 64 * MIB + 1))
    assert over.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not was_answered(over), "RetryInfo would make a Collector send it for ever"
    assert weather.client.send("metrics", _padded(weather.body(("big", 3)), 64 * MIB - 1024), timeout_secs=30) == 0
    assert weather.client.send("metrics", weather.body(("small", 2))) == 0
    weather.settle(big=3, small=2)


def _padded(body: bytes, size: int) -> bytes:
    """
    Make the request as large as that by a resource with one long attribute and no metrics.
    """
    request = ExportMetricsServiceRequest()
    request.resource_metrics.add().resource.attributes.append(attribute("pad", "x" * (size - len(body) - 40)))
    padding = request.SerializeToString()
    missing = size - len(body) - len(padding)
    request.resource_metrics[0].schema_url = "y" * (missing - 2)
    return body + request.SerializeToString()


def test_gzip_bomb(weather: Weather) -> None:
    """
    A small body that inflates past the limit is refused for good, without being inflated whole.
    """
    bomb = gzip.compress(_padded(weather.body(("bomb", 1)), 256 * MIB), 1)
    assert len(bomb) < 2 * MIB
    with grpc.insecure_channel(weather.site.target) as channel:
        call = channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
        with pytest.raises(grpc.RpcError) as caught:
            call(bomb, timeout=20)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    status = Path(f"/proc/{weather.site.gateway.pid}/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    assert peak < 400 * 1024
    assert weather.client.send("metrics", weather.body(("a", 2))) == 0
    weather.settle(a=2)


def test_not_a_number(weather: Weather) -> None:
    """
    NaN and infinity are quarantined; the counters beside them count.
    """
    body = weather.body(("nan", float("nan")), ("a", 1.5), ("inf", float("inf")), ("b", 2))
    assert weather.client.send("metrics", body) == 2
    assert weather.reasons() == {"not_a_number": 2}
    weather.settle(a="1.5", b=2)


def test_counter_reset(weather: Weather) -> None:
    """
    A counter that starts anew counts from zero again; one that falls under its old start is disputed, and goes on.
    """
    client, epoch = weather.client, weather.epoch
    assert client.send("metrics", weather.body(("reset", 10), ("fell", 10), at=1)) == 0
    again = [number_point("reset", epoch + 5 * 10**6, epoch + 6 * 10**6, 4)]
    assert client.send("metrics", sum_body("proof.cumulative", CUMULATIVE, again)) == 0
    assert client.send("metrics", weather.body(("fell", 3), at=7)) == 1
    assert client.send("metrics", weather.body(("fell", 5), at=8)) == 0
    assert weather.reasons() == {"decrease": 1}
    weather.settle(reset=14, fell=12)


def test_unknown_customer(weather: Weather) -> None:
    """
    A point without a customer is quarantined under its rule, never billed to a default.
    """
    assert weather.client.send("metrics", weather.body((None, 9), ("a", 1), ("", 8))) == 2
    assert weather.reasons() == {"missing_customer": 2}
    weather.settle(a=1)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_full_disk(tmp_path: Path) -> None:
    """
    On a full disk every request is refused for now, what is stored can be read, and room heals it without a restart.
    """
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this kernel lets nobody mount a tmpfs of his own")
    disk = tmp_path / "disk"
    disk.mkdir()
    site = Site(tmp_path, exporters={})
    script = f'mount -t tmpfs -o size=160m none {disk} && cp {site.config} {disk}/ && exec "$@"'
    config = disk / site.config.name
    command = site.gateway.command
    site.gateway.command = ["unshare", "-Urm", "sh", "-c", script, "sh", *command[:-1], str(config)]
    with site.gateway:
        weather = Weather(site)
        assert weather.client.send("metrics", weather.body(("a", 1), at=1)) == 0
        filler = Path(f"/proc/{site.gateway.pid}/root{disk}/filler")
        _fill(filler)
        refusals, reading = [], 1
        deadline = time.monotonic() + 30
        while len(refusals) < 5 and time.monotonic() < deadline:
            reading += 1
            many = weather.body(*((f"c{n}", reading) for n in range(200)), at=reading)
            refusals += _refusal(weather.client, many)
        assert [error.code() for error in refusals] == [grpc.StatusCode.UNAVAILABLE] * 5
        assert all(was_answered(error) for error in refusals), "a refusal must carry RetryInfo"
        filler.unlink()
        last = weather.body(*((f"c{n}", reading) for n in range(200)), ("a", 2), at=reading + 1)
        wait_until(lambda: not _refusal(weather.client, last), 30, "the ledger to heal", every_secs=0.2)
        totals = _totals_inside(site, config)
        assert totals == {"a": "2", **{f"c{n}": str(reading) for n in range(200)}}
        weather.client.close()
        assert site.gateway.terminate() == 0


def _fill(path: Path) -> None:
    """
    Take all the room that the file's disk has.
    """
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def _refusal(client: OtlpClient, body: bytes) -> list[grpc.RpcError]:
    """
    Send once, and return the refusal, if it was one.
    """
    try:
        client.send("metrics", body)
    except grpc.RpcError as error:
        return [error]
    return []


def _totals_inside(site: Site, config: Path) -> dict[str, str]:
    """
    Ask for the totals from inside the gateway's mount namespace.
    """
    inside = ["nsenter", "-t", str(site.gateway.pid), "-U", "-m", "--preserve-credentials"]
    program = site.gateway.command[site.gateway.command.index("sh", 5) + 1 :]
    command = [*inside, *program[:3], "totals", str(config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["customer_id"]: row["value"] for row in rows}
