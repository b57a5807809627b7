"""
The official SDKs of Amplitude and Mixpanel against a real gateway, pointed there by URL or host name alone.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import trustme

from meterline.testing.examples import Example
from meterline.testing.process import wait_until
from meterline.testing.products import KEY, SdkProcess

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

COUNT = 40
SUM = COUNT * (COUNT + 1) // 2
RATED = f'token: "{KEY}", limits: {{max_requests_per_sec: 3}}'


@pytest.fixture
def amplitude(root: Path, tmp_path: Path) -> Iterator[Example]:
    """
    The example's gateway in Amplitude's place; not started.
    """
    with Example(root / "examples" / "amplitude", tmp_path) as example:
        yield example


@pytest.fixture
def mixpanel(root: Path, tmp_path: Path) -> Iterator[Example]:
    """
    The example's gateway in Mixpanel's place; not started.
    """
    with Example(root / "examples" / "mixpanel", tmp_path) as example:
        yield example


def secured(example: Example) -> dict[str, str]:
    """
    Give a gateway a certificate, and return the environment in which SDKs trust it.
    """
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    server.cert_chain_pems[0].write_to_path(str(example.folder / "server.pem"))
    server.private_key_pem.write_to_path(str(example.folder / "server.key"))
    bundle = example.folder / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    example.configure(r"(    formats: )", r"    tls: {cert_file: server.pem, key_file: server.key}\n\1")
    return {"REQUESTS_CA_BUNDLE": str(bundle), "NODE_EXTRA_CA_CERTS": str(bundle)}


def rated(example: Example) -> None:
    """
    Let the gateway refuse for now whatever is more than three requests a second.
    """
    example.configure(r'token: "[^"]*"', RATED)


@pytest.mark.parametrize("language", ["python", "js"])
def test_amplitude(amplitude: Example, language: str) -> None:
    """Everything that the SDK was told is stored is counted, exactly and once."""
    amplitude.gateway.start()

    told = SdkProcess("amplitude", language, f"http://{amplitude.http}", language, COUNT).finish()

    assert told == (SUM, 0)
    assert amplitude.totals() == {(language, "exported-rows"): Decimal(SUM)}


@pytest.mark.parametrize("language", ["python", "js"])
def test_amplitude_through_refusals(amplitude: Example, language: str) -> None:
    """Both SDKs come again after 503, and what comes again counts once."""
    rated(amplitude)
    amplitude.gateway.start()

    told = SdkProcess("amplitude", language, f"http://{amplitude.http}", language, COUNT).finish(200)

    assert told == (SUM, 0)
    assert amplitude.totals() == {(language, "exported-rows"): Decimal(SUM)}


def test_amplitude_python_through_an_outage(amplitude: Example) -> None:
    """The Python SDK comes again when nobody listens; Node's drops what it has then, and says so."""
    python = SdkProcess("amplitude", "python", f"http://{amplitude.http}", "python", COUNT)
    node = SdkProcess("amplitude", "js", f"http://{amplitude.http}", "js", COUNT)
    dropped = node.finish()
    amplitude.gateway.start()

    assert dropped == (0, COUNT)
    assert python.finish() == (SUM, 0)
    assert amplitude.totals() == {("python", "exported-rows"): Decimal(SUM)}


@pytest.mark.parametrize("language", ["python", "js"])
def test_mixpanel_by_host_name(mixpanel: Example, language: str) -> None:
    """Over HTTPS, where the host is all that changes, everything is counted exactly."""
    env = secured(mixpanel)
    mixpanel.gateway.start()

    told = SdkProcess("mixpanel", language, f"https://{mixpanel.http}", language, COUNT, env=env).finish()

    assert told == (SUM, 0)
    assert mixpanel.totals() == {(language, "exported-rows"): Decimal(SUM)}


def test_mixpanel_python_through_refusals_and_a_restart(mixpanel: Example) -> None:
    """Over HTTPS the Python SDK comes again after 503 and broken connections; what it gave up, it says."""
    env = secured(mixpanel)
    rated(mixpanel)
    mixpanel.gateway.start()
    sender = SdkProcess("mixpanel", "python", f"https://{mixpanel.http}", "python", 12, env=env)
    wait_until(mixpanel.totals, 60, "the first event")
    mixpanel.gateway.kill()
    mixpanel.gateway.start()

    told = sender.finish(200)

    assert told.sent > 0
    assert mixpanel.totals() == {("python", "exported-rows"): Decimal(told.sent)}


def test_mixpanel_js_never_tries_again(mixpanel: Example) -> None:
    """What is refused for now is the callback's business: the SDK says so, and what it says is stored is counted."""
    rated(mixpanel)
    mixpanel.gateway.start()

    told = SdkProcess("mixpanel", "js", f"http://{mixpanel.http}", "js", COUNT).finish()

    assert told.failed > 0
    assert mixpanel.totals().get(("js", "exported-rows"), Decimal(0)) == Decimal(told.sent)


def test_a_wrong_key_is_told(amplitude: Example) -> None:
    """Nothing of a wrong key is counted, and Node's SDK says so."""
    amplitude.gateway.start()

    sender = SdkProcess("amplitude", "js", f"http://{amplitude.http}", "js", 3, key="wrong")

    assert sender.finish() == (0, 3)
    assert amplitude.totals() == {}
