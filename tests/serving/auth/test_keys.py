"""
Keys: how they are sent, when they end, how one follows another.
"""

import base64
import contextlib
import hashlib
import hmac
from typing import Any

import pytest
from pydantic import ValidationError

from meterline.api import ANONYMOUS, ForbiddenError, Limits, Principal, UnauthenticatedError
from meterline.serving.auth import PeerIdentity
from meterline.serving.auth_config import AuthConfig

TOKEN = "ml_token"  # noqa: S105 - of this test alone
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()


def basic(name: str, token: str) -> dict[str, str]:
    """
    Return HTTP Basic credentials.
    """
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()}


@pytest.mark.parametrize("key", [{"token": TOKEN}, {"token_sha256": DIGEST}, {"token_sha256": DIGEST.upper()}])
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"BEARER   {TOKEN} "},
        {"x-api-key": TOKEN},
        basic("acme", TOKEN),
        {"authorization": "Bearer wrong", "x-api-key": TOKEN},
        {"authorization": f"Bearer {TOKEN}", "x-api-key": "wrong"},
    ],
)
def test_a_right_key_is_its_principal(make: Any, key: dict[str, str], headers: dict[str, str]) -> None:
    """
    Written as a token or as its hash, sent in any of the ways, beside a wrong one or alone.
    """
    rights = {"customers": ["acme*"], "tenants": ["t"], "limits": {"max_points_per_sec": 5, "max_streams": 7}}
    authenticator = make(keys=[{"name": "acme", **key, **rights}])

    limits = Limits(max_points_per_sec=5, max_streams=7)
    assert authenticator.authenticate(headers, None) == Principal("acme", ("acme*",), ("t",), limits)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": TOKEN},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {DIGEST}"},
        {"authorization": "Bearer "},
        {"x-api-key": ""},
        {"x-api-key": "Ümlaut \udc80"},
        basic("other", TOKEN),
        basic("", TOKEN),
        basic("acme", ""),
        basic(TOKEN, ""),
        {"authorization": "Basic !!!"},
        {"authorization": "Basic bm9jb2xvbg=="},
        {"authorization": "Digest x"},
        {"cookie": TOKEN},
    ],
)
def test_anything_else_is_nobody(make: Any, headers: dict[str, str]) -> None:
    """
    No credential, a wrong one, a right token under another name, the hash in place of the token.
    """
    authenticator = make(keys=[{"name": "acme", "token": TOKEN}, {"name": "other", "token": "x"}])

    with pytest.raises(UnauthenticatedError) as caught:
        authenticator.authenticate(headers, None)

    assert TOKEN not in str(caught.value)


def test_headers_may_be_pairs_with_bytes(make: Any) -> None:
    """
    Metadata of gRPC repeats names and has bytes; every one is looked at.
    """
    authenticator = make(keys=[{"name": "acme", "token": TOKEN}])
    pairs = [("x-api-key", "a"), ("x-api-key", b"b\xff"), ("x-api-key", TOKEN.encode())]

    assert authenticator.authenticate(pairs, None).name == "acme"


def test_a_look_up_does_the_same_for_any_token(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Right, nearly right and wrong: one comparison in constant time each, of digests alone; no token is kept.
    """
    compared: list[tuple[bytes, bytes]] = []
    ours = hmac.compare_digest

    def compare(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return ours(first, second)

    authenticator = make(keys=[{"name": f"p{n}", "token": f"{TOKEN}{n}"} for n in range(50)])
    monkeypatch.setattr(hmac, "compare_digest", compare)

    for token in (f"{TOKEN}7", f"{TOKEN}77", "x"):
        with contextlib.suppress(UnauthenticatedError):
            authenticator.authenticate({"x-api-key": token}, None)

    assert [(len(first), len(second)) for first, second in compared] == [(32, 32)] * 3
    held = repr([vars(authenticator), vars(authenticator._ring)])
    assert TOKEN not in held
    digests = {hashlib.sha256(f"{TOKEN}{n}".encode()).digest() for n in range(50)}
    assert not digests & set(authenticator._ring._keys), "where a key stands in the table is a secret of the process"


def test_a_key_ends_when_it_says(make: Any, clock: Any) -> None:
    """
    Before its time it is good; from then on it is refused, and the refusal says since when.
    """
    authenticator = make(keys=[{"name": "acme", "token": TOKEN, "expires_at": "2030-01-01T00:00:00+01:00"}])
    end = 1_893_452_400 * 10**9
    headers = {"x-api-key": TOKEN}

    clock.now_ns = lambda: end - 1
    assert authenticator.authenticate(headers, None).name == "acme"
    clock.now_ns = lambda: end
    with pytest.raises(UnauthenticatedError, match=r"'acme' expired at 2030-01-01T00:00:00\+01:00"):
        authenticator.authenticate(headers, None)


def test_keys_follow_one_another_without_a_gap(make: Any, clock: Any) -> None:
    """
    Two keys of one name are one principal; when the old one ends the new one goes on, also beside it.
    """
    old = {"name": "acme", "token": "old", "expires_at": "2030-01-01T00:00:00Z"}
    authenticator = make(keys=[old, {"name": "acme", "token": "new"}])

    assert authenticator.authenticate({"x-api-key": "old"}, None) == authenticator.authenticate(
        {"x-api-key": "new"}, None
    )
    clock.ahead_secs = 10**9
    both = {"authorization": "Bearer old", "x-api-key": "new"}
    assert authenticator.authenticate(both, None).name == "acme"


def test_when_a_key_was_last_right_is_told(make: Any, clock: Any) -> None:
    """
    Of each key by name and place in the config, so that whoever replaces one sees when the old one is not used any more;
    what is refused is no use, and nothing of a token is told.
    """
    old = {"name": "acme", "token": "old-canary", "expires_at": "2001-09-09T01:46:45Z"}
    authenticator = make(keys=[{"name": "ops", "token": "x-canary"}, old, {"name": "acme", "token": "new-canary"}])

    def told() -> dict[tuple[str, str], float]:
        return {(s.labels["key"], s.labels["place"]): s.value for s in authenticator.samples({"receiver": "r"})}

    assert told() == {("ops", "0"): 0, ("acme", "1"): 0, ("acme", "2"): 0}
    for second, headers in enumerate(
        [{"x-api-key": "old-canary"}, {"x-api-key": "new-canary"}, basic("no", "x-canary")]
    ):
        clock.now_ns = lambda second=second: (1_000_000_000 + second) * 10**9 + 7
        with contextlib.suppress(UnauthenticatedError):
            authenticator.authenticate(headers, None)
    assert told() == {("ops", "0"): 0, ("acme", "1"): 1_000_000_000, ("acme", "2"): 1_000_000_001}
    clock.now_ns = lambda: 1_000_000_005 * 10**9
    with pytest.raises(UnauthenticatedError):
        authenticator.authenticate({"x-api-key": "old-canary"}, None)
    assert told()["acme", "1"] == 1_000_000_000
    assert "canary" not in repr(list(authenticator.samples({})))


def test_without_auth_everybody_is_anonymous(make: Any) -> None:
    """
    A listener without auth and without certificates asks nobody, whatever they send.
    """
    assert make().authenticate({"x-api-key": "anything"}, None) is ANONYMOUS


AGENT = PeerIdentity("agent-7", ("agent-7.example", "spiffe://example/agent"))


def test_without_auth_a_certificate_is_its_subject(make: Any) -> None:
    """
    The common name, else the first alternative name; a certificate without names, or none, is nobody.
    """
    authenticator = make(by_certificate=True)

    assert authenticator.authenticate({}, AGENT) == Principal("agent-7")
    assert authenticator.authenticate({}, PeerIdentity("", ("b", "a"))).name == "b"
    for nobody in (PeerIdentity(), None):
        with pytest.raises(UnauthenticatedError):
            authenticator.authenticate({}, nobody)


@pytest.mark.parametrize("subject", ["agent-7", "agent-*", "*.example", "spiffe://example/*"])
def test_a_matching_certificate_is_the_entrys_principal(make: Any, subject: str) -> None:
    """
    Any of the certificate's names matches, and the first matching entry decides.
    """
    entries = [
        {"subject": "nobody", "name": "no"},
        {"subject": subject, "name": "fleet", "customers": ["c"]},
        {"subject": "*", "name": "rest"},
    ]

    assert make(by_certificate=True, subjects=entries).authenticate({}, AGENT) == Principal("fleet", ("c",))


def test_a_certificate_without_an_entry_is_refused(make: Any) -> None:
    """
    With ``subjects``, a valid certificate that none of them names is nobody; so is no certificate.
    """
    authenticator = make(by_certificate=True, subjects=[{"subject": "other-*", "name": "fleet"}])

    for identity in (AGENT, PeerIdentity(), None):
        with pytest.raises(UnauthenticatedError):
            authenticator.authenticate({}, identity)


def test_a_header_goes_before_the_certificate(make: Any) -> None:
    """
    A right key beside any certificate is the key's principal; a wrong key is refused beside the best certificate.
    """
    entries = [{"subject": "agent-7", "name": "fleet"}]
    authenticator = make(by_certificate=True, subjects=entries, keys=[{"name": "acme", "token": TOKEN}])

    assert authenticator.authenticate({"x-api-key": TOKEN}, AGENT).name == "acme"
    assert authenticator.authenticate({"x-api-key": TOKEN}, PeerIdentity("stranger")).name == "acme"
    assert authenticator.authenticate({}, AGENT).name == "fleet"
    with pytest.raises(UnauthenticatedError):
        authenticator.authenticate({"x-api-key": "wrong"}, AGENT)


def test_certificates_are_read_as_python_and_grpc_give_them() -> None:
    """
    Both forms of one certificate come to the same names.
    """
    python = {
        "subject": ((("countryName", "DE"),), (("commonName", "agent-7"),)),
        "subjectAltName": (("DNS", "agent-7.example"), ("URI", "spiffe://example/agent")),
    }
    grpc = {
        "x509_common_name": [b"agent-7"],
        "x509_subject_alternative_name": [b"agent-7.example", b"spiffe://example/agent"],
    }

    assert PeerIdentity.of_peer_certificate(python) == AGENT
    assert PeerIdentity.of_auth_context(grpc) == AGENT
    assert PeerIdentity.of_peer_certificate({}) == PeerIdentity()


@pytest.mark.parametrize(
    ("tenants", "named", "tenant"),
    [
        (None, None, ""),
        (None, "x", "x"),
        (None, " x ", "x"),
        (("a",), None, "a"),
        (("a",), "", "a"),
        (("a",), "a", "a"),
        (("a*",), None, ""),
        (("a*",), "abc", "abc"),
        (("a", "b"), None, ""),
        (("a", "b"), "b", "b"),
        ((), None, ""),
    ],
)
def test_the_tenant_is_the_named_one_or_the_only_one(
    make: Any, tenants: tuple[str, ...] | None, named: str | None, tenant: str
) -> None:
    """
    Who has one tenant need not name it; who has several and names none is for none.
    """
    assert make().tenant(Principal("p", tenants=tenants), named) == tenant


@pytest.mark.parametrize(("tenants", "named"), [(("a",), "b"), (("a*",), "ba"), ((), "a"), (("a",), "A")])
def test_another_tenant_is_forbidden(make: Any, tenants: tuple[str, ...], named: str) -> None:
    """
    A tenant that is none of the principal's is refused, by name.
    """
    with pytest.raises(ForbiddenError, match=f"'p' may not name the tenant '{named}'"):
        make().tenant(Principal("p", tenants=tenants), named)


def test_a_hash_in_the_config_is_no_way_in() -> None:
    """
    Neither the model's text nor its JSON shows a token that was written out.
    """
    config = AuthConfig.model_validate({"keys": [{"name": "a", "token": "canary-token"}]})

    assert "canary" not in f"{config!r} {config} {config.model_dump_json()}"


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({}, "nobody may send"),
        (
            {"keys": [{"name": "a", "token": "x"}, {"name": "b", "token_sha256": hashlib.sha256(b"x").hexdigest()}]},
            "same token",
        ),
        ({"keys": [{"name": "a", "token": "x", "limits": {"max_streams": 1}}, {"name": "a", "token": "y"}]}, "limits"),
        (
            {"keys": [{"name": "a", "token": "x"}], "subjects": [{"subject": "s", "name": "a", "tenants": []}]},
            "tenants",
        ),
        ({"oidc": {"issuer": "http://example.com", "audience": "a"}}, "https://"),
        ({"oidc": {"issuer": "http://127.0.0.1.example.com", "audience": "a"}}, "https://"),
        ({"oidc": {"issuer": "https://e", "audience": "a", "tenants": [], "tenants_claim": "t"}}, "write one of them"),
    ],
)
def test_sections_that_cannot_be_meant_are_refused(auth: dict[str, Any], message: str) -> None:
    """
    What two entries of one name say must agree, and a key set is fetched over a way that nobody can forge.
    """
    with pytest.raises(ValidationError, match=message):
        AuthConfig.model_validate(auth)
