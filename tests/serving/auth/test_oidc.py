"""
Tokens of a provider: what is proven, what is refused for good, and what only for now.
"""

import base64
import gzip
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import structlog
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from meterline.api import MeterlineError, Principal, RetryableError, SystemClock, UnauthenticatedError
from meterline.serving.auth import Authenticator, jwks
from meterline.serving.auth_config import AuthConfig, OidcConfig
from meterline.testing.identity_provider import DISCOVERY, KEYS, IdentityProvider
from meterline.testing.process import wait_until

PAUSE_SECS = jwks.MIN_REFETCH_SECS


PATIENCE_SECS = 40.0
"""How long to wait for what must come; more than a fetch may take."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Fetch again at once; one test looks at the pause.
    """
    monkeypatch.setattr(jwks, "MIN_REFETCH_SECS", 0.02)


@pytest.fixture
def oidc(make: Any, provider: IdentityProvider) -> Callable[..., Authenticator]:
    """
    Return a function that makes an authenticator for the provider, which has its keys already.
    """

    def of(**keys: Any) -> Authenticator:
        others = {name: keys.pop(name) for name in ("keys", "subjects") if name in keys}
        section = {"issuer": provider.issuer, "audience": provider.audience, **keys}
        authenticator = make(oidc=section, **others, by_certificate="subjects" in others)
        authenticator.prepare()
        loaded(authenticator)
        return authenticator

    return of


def loaded(authenticator: Authenticator) -> None:
    """
    Wait until the keys are there.
    """
    deadline = time.monotonic() + PATIENCE_SECS
    while authenticator._verifier._cache._set is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def sent(authenticator: Authenticator, token: str) -> Principal:
    """
    Return who a bearer token is.
    """
    return authenticator.authenticate({"authorization": f"Bearer {token}"}, None)


def at_last(authenticator: Authenticator, token: str) -> Principal:
    """
    Do as a sender that comes again while it is told to.
    """
    deadline = time.monotonic() + PATIENCE_SECS
    while True:
        try:
            return sent(authenticator, token)
        except RetryableError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def until_refused(authenticator: Authenticator, token: str) -> None:
    """
    Send a token again and again while it is good.
    """
    deadline = time.monotonic() + PATIENCE_SECS
    while time.monotonic() < deadline:
        sent(authenticator, token)
        time.sleep(0.005)


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_good_token_is_its_principal(oidc: Any, provider: IdentityProvider, algorithm: str) -> None:
    """
    Every algorithm that is allowed proves a token; rights and limits are the section's.
    """
    provider.rotate("k", algorithm)
    authenticator = oidc(algorithms=[algorithm], customers=["c*"], tenants=["t"])

    found = sent(authenticator, provider.token("k"))

    assert (found.name, found.customers, found.tenants) == ("agent", ("c*",), ("t",))


def test_the_claims_that_are_named_decide(oidc: Any, provider: IdentityProvider) -> None:
    """
    Principal, customers and tenants come from claims, as a text or a list; literal: a glob in a token grants nothing.
    """
    authenticator = oidc(principal_claim="client", customers_claim="https://example.com/org", tenants_claim="tenants")

    token = provider.token(client="c-1", **{"https://example.com/org": "acme", "tenants": ["a", "b*", "?", 7, "c"]})

    assert sent(authenticator, token) == Principal("c-1", ("acme",), ("a", "c"))


@pytest.mark.parametrize("claim", [None, [], "*", {"a": 1}, 7])
def test_a_claim_that_grants_nothing_grants_nothing(oidc: Any, provider: IdentityProvider, claim: Any) -> None:
    """
    A token without the claim of its customers or tenants may write for nobody, and never for everybody.
    """
    found = sent(oidc(customers_claim="org", tenants_claim="team"), provider.token(org=claim, team=claim))

    assert (found.customers, found.tenants) == ((), ())


NOW = 1_000_000_000
"""Stands for the time of the test in its parameters."""


def timed(claims: dict[str, Any]) -> dict[str, Any]:
    """
    Return claims whose times are of the test's time.
    """
    times = {name: value for name, value in claims.items() if name in ("exp", "iat", "nbf") and type(value) is int}
    return {**claims, **{name: value - NOW + int(time.time()) for name, value in times.items()}}


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": NOW - 61}, "has expired"),
        ({"exp": None}, "has no exp"),
        ({"exp": "9999999999"}, "has no exp"),
        ({"exp": True}, "has no exp"),
        ({"exp": float("nan")}, "has no exp"),
        ({"exp": float("inf")}, "has no exp"),
        ({"iat": None}, "has no iat"),
        ({"iat": NOW + 400}, "not valid yet"),
        ({"nbf": NOW + 400}, "not valid yet"),
        ({"nbf": "soon"}, "not valid yet"),
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "other"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"sub": None}, "has no claim 'sub'"),
        ({"sub": ""}, "has no claim 'sub'"),
        ({"sub": ["agent"]}, "has no claim 'sub'"),
        ({"sub": "x" * 257}, "has no claim 'sub'"),
    ],
)
def test_a_token_that_is_not_for_us_is_refused(
    oidc: Any, provider: IdentityProvider, claims: dict[str, Any], why: str
) -> None:
    """
    A good signature is not enough: time, issuer, audience and principal must be right.
    """
    with pytest.raises(UnauthenticatedError, match=why):
        sent(oidc(), unchecked(provider, **timed(claims)))


def unchecked(provider: IdentityProvider, **claims: Any) -> str:
    """
    Return a token with claims that PyJWT itself would not write.
    """
    now = int(time.time())
    every = {"iss": provider.issuer, "aud": "meterline", "sub": "agent", "iat": now, "exp": now + 300, **claims}
    payload = json.dumps({name: value for name, value in every.items() if value is not None}).encode()
    algorithm, key = provider._keys["first"]
    return jwt.api_jws.encode(payload, key, algorithm, headers={"kid": "first"})


@pytest.mark.parametrize(
    "claims", [{"exp": NOW - 30}, {"iat": NOW + 30}, {"nbf": NOW + 30}, {"aud": ["x", "meterline"]}]
)
def test_clocks_may_differ_a_minute(oidc: Any, provider: IdentityProvider, claims: dict[str, Any]) -> None:
    """
    What is over for less than a minute, or begins within one, is good.
    """
    assert sent(oidc(), provider.token(**timed(claims))).name == "agent"


def b64(data: bytes) -> str:
    """
    Return base64url without padding.
    """
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_shared_secret(claims: str, secret: str) -> str:
    """
    Return a token signed with HMAC by a text that everybody knows.
    """
    said = f"{HS256}.{claims}"
    return f"{said}.{b64(hmac.digest(secret.encode(), said.encode(), 'sha256'))}"


HS256 = b64(b'{"alg":"HS256","kid":"first"}')
NONE = b64(b'{"alg":"none","kid":"first"}')
ROOT = b64(b'{"sub":"root"}')


def test_forged_tokens_are_refused(oidc: Any, provider: IdentityProvider) -> None:
    """
    No signature, one by the public key as a shared secret, another key's, a changed claim, a key in the header.
    """
    authenticator = oidc()
    good = provider.token()
    head, claims, signature = good.split(".")
    public = json.dumps(provider.public("first"))
    provider.rotate("thief", publish=False)
    forged = [
        f"{NONE}.{claims}.",
        f"{NONE}.{claims}.{signature}",
        by_shared_secret(claims, public),
        jwt.encode({"sub": "agent", "iat": int(time.time())}, "x" * 64, "HS512"),
        provider.token("thief", header={"kid": "first"}),
        provider.token("thief", header={"kid": "first", "jwk": provider.public("thief")}),
        provider.token("thief", header={"kid": "first", "jku": f"{provider.issuer}{KEYS}"}),
        f"{head}.{ROOT}.{signature}",
        f"{head}.{claims}.{signature[:-4]}AAAA",
        f"{head}.{claims}.",
    ]

    for token in forged:
        with pytest.raises(UnauthenticatedError):
            sent(authenticator, token)
    assert sent(authenticator, good).name == "agent"


def test_an_algorithm_that_is_not_allowed_is_refused(oidc: Any, provider: IdentityProvider) -> None:
    """
    A good signature by an algorithm that the config does not name proves nothing.
    """
    provider.rotate("rsa", "RS256")

    with pytest.raises(UnauthenticatedError, match="algorithm"):
        sent(oidc(algorithms=["ES256"]), provider.token("rsa"))


def test_a_key_is_used_for_its_own_algorithm(oidc: Any, provider: IdentityProvider) -> None:
    """
    A key that is published for RS256 checks no PS256, and one for encryption checks nothing.
    """
    provider.rotate("rsa", "RS256")
    _, key = provider._keys["rsa"]
    provider._keys["pss"] = ("PS256", key)
    authenticator = oidc(algorithms=["RS256", "PS256"])
    assert sent(authenticator, provider.token("rsa")).name == "agent"
    with pytest.raises(UnauthenticatedError):
        sent(authenticator, provider.token("pss", header={"kid": "rsa"}))

    provider.documents[KEYS] = {"keys": [{**provider.public("rsa"), "use": "enc"}]}
    with pytest.raises(UnauthenticatedError):
        sent(oidc(), provider.token("rsa"))


def test_a_token_cannot_take_the_name_of_a_key(oidc: Any, provider: IdentityProvider) -> None:
    """
    The provider's users are not those of the config: the same name with other rights is refused.
    """
    authenticator = oidc(keys=[{"name": "acme", "token": "t"}], subjects=[{"subject": "s", "name": "fleet"}])

    for name in ("acme", "fleet"):
        with pytest.raises(UnauthenticatedError, match="name of a key or subject"):
            sent(authenticator, provider.token(sub=name))
    assert authenticator.authenticate({"x-api-key": "t"}, None).name == "acme"


@pytest.mark.parametrize("token", ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "." * 5000, "ey" * 9000, "ml_key"])
def test_what_is_no_token_is_a_wrong_credential(oidc: Any, token: str) -> None:
    """
    Nothing of it makes the verifier stumble.
    """
    with pytest.raises(UnauthenticatedError):
        sent(oidc(), token)


@pytest.mark.parametrize(
    "head",
    [
        b"[" * 9000,
        b'{"alg":' + b"[" * 4000 + b"]" * 4000 + b"}",
        b'{"alg":"ES256","kid":["a"]}',
        b'{"alg":{"a":1}}',
        b'{"alg":null}',
        b'{"alg":"ES256","crit":["x"]}',
        b'{"alg":"ES256","kid":"\\ud800"}',
        b"\xff",
        b"1",
    ],
)
def test_hostile_headers_are_refused(oidc: Any, provider: IdentityProvider, head: bytes) -> None:
    """
    Whatever stands in a token's header, the answer is a refusal and never an unexpected exception.
    """
    _, claims, signature = provider.token().split(".")

    with pytest.raises((UnauthenticatedError, RetryableError)):
        sent(oidc(), f"{b64(head)}.{claims}.{signature}")


def test_any_bytes_are_refused_or_retried(provider: IdentityProvider) -> None:
    """
    Three parts of anything: no exception but those that have an answer.
    """
    config = AuthConfig.model_validate({"oidc": {"issuer": provider.issuer, "audience": "a"}})
    authenticator = Authenticator(config, by_certificate=False, clock=SystemClock(), log=structlog.get_logger())
    authenticator.prepare()
    loaded(authenticator)
    parts = st.one_of(
        st.binary(max_size=60),
        st.dictionaries(
            st.sampled_from(["alg", "kid", "iat", "exp", "typ"]),
            st.one_of(st.integers(), st.text(), st.none(), st.floats(), st.just("ES256")),
        ).map(lambda value: json.dumps(value).encode()),
    )

    @given(parts, parts, parts)
    def refused(head: bytes, claims: bytes, signature: bytes) -> None:
        with pytest.raises(MeterlineError):
            sent(authenticator, f"{b64(head)}.{b64(claims)}.{b64(signature)}")

    refused()


def test_before_the_keys_are_there_senders_come_again(make: Any, provider: IdentityProvider) -> None:
    """
    A provider that cannot be reached at the start is no proof against a token: not now, and it never waits.
    """
    provider.answering.clear()
    authenticator = make(oidc={"issuer": provider.issuer, "audience": provider.audience, "timeout_secs": 30.0})

    with pytest.raises(RetryableError, match="not at hand"):
        sent(authenticator, provider.token())

    assert authenticator._verifier._cache._busy, "the fetch goes on, and nobody has waited for it"
    provider.answering.set()
    assert at_last(authenticator, provider.token()).name == "agent"


def test_a_new_key_of_the_provider_is_fetched(oidc: Any, provider: IdentityProvider) -> None:
    """
    After a rotation a token with the new key is refused for now, once the keys are there it is good, and the old one is not.
    """
    authenticator = oidc()
    old = provider.token()
    assert sent(authenticator, old).name == "agent"

    provider.rotate("second")
    fresh = provider.token("second")

    with pytest.raises(RetryableError):
        sent(authenticator, fresh)
    assert at_last(authenticator, fresh).name == "agent"
    with pytest.raises((UnauthenticatedError, RetryableError)):
        sent(authenticator, old)


def test_an_unknown_key_is_refused_for_good_when_the_keys_are_newer_than_the_token(
    oidc: Any, provider: IdentityProvider, clock: Any
) -> None:
    """
    A key that was not there after the token was issued will never be there.
    """
    authenticator = oidc()
    provider.rotate("stranger", publish=False)
    fresh, old = provider.token("stranger"), provider.token("stranger", iat=int(time.time()) - 200)

    with pytest.raises(RetryableError):
        sent(authenticator, fresh)
    with pytest.raises(UnauthenticatedError, match="not signed by a key of"):
        sent(authenticator, old)
    clock.ahead_secs = 100
    with pytest.raises(UnauthenticatedError, match="not signed by a key of"):
        at_last(authenticator, fresh)


def test_unknown_keys_do_not_flood_the_provider(
    oidc: Any, provider: IdentityProvider, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A thousand tokens with keys that nobody has cost the provider no more than the one fetch there was, until ten seconds on.
    """
    assert PAUSE_SECS == 10, "as docs/security.md says"
    monkeypatch.setattr(jwks, "MIN_REFETCH_SECS", PAUSE_SECS)
    authenticator = oidc()
    start = clock.monotonic()
    clock.monotonic = lambda: start
    before = len(provider.requests)
    token = provider.token(header={"kid": "nobody's"})

    for _ in range(1000):
        with pytest.raises(RetryableError):
            sent(authenticator, token)

    assert len(provider.requests) == before
    clock.monotonic = lambda: start + PAUSE_SECS
    with pytest.raises(RetryableError):
        sent(authenticator, token)
    wait_until(lambda: len(provider.requests) > before, PATIENCE_SECS, "a fetch")


def test_an_outage_of_the_provider_is_outlived(oidc: Any, provider: IdentityProvider, clock: Any) -> None:
    """
    Old keys go on while the provider is down, up to their greatest age; then senders come again.
    """
    authenticator = oidc(jwks_ttl_secs=60, jwks_max_age_secs=600)
    provider.documents[KEYS] = 503
    provider.documents[DISCOVERY] = 503

    clock.ahead_secs = 500
    assert sent(authenticator, provider.token(exp=int(time.time()) + 9000)).name == "agent"
    clock.ahead_secs = 700
    with pytest.raises(RetryableError, match="not at hand"):
        sent(authenticator, provider.token(exp=int(time.time()) + 9000))


def test_keys_are_fetched_again_when_they_are_old(oidc: Any, provider: IdentityProvider, clock: Any) -> None:
    """
    A key that the provider withdrew is good no longer once the time to live is over.
    """
    authenticator = oidc(jwks_ttl_secs=60)
    token = provider.token(exp=int(time.time()) + 9000, iat=int(time.time()) - 100)
    assert sent(authenticator, token).name == "agent"
    provider.rotate("second")

    clock.ahead_secs = 61
    with pytest.raises(UnauthenticatedError):
        until_refused(authenticator, token)


def test_a_remembered_token_ends_in_time(oidc: Any, provider: IdentityProvider, clock: Any) -> None:
    """
    That a token was proven once does not carry it beyond its end.
    """
    authenticator = oidc()
    token = provider.token(exp=int(time.time()) + 100)
    assert sent(authenticator, token) == sent(authenticator, token)

    clock.ahead_secs = 200
    with pytest.raises(UnauthenticatedError, match="has expired"):
        sent(authenticator, token)


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (DISCOVERY, b"<html>"),
        (DISCOVERY, b"[]"),
        (DISCOVERY, b"[" * 100_000),
        (DISCOVERY, 404),
        (DISCOVERY, {"issuer": "https://other.example", "jwks_uri": "https://other.example/keys"}),
        (DISCOVERY, {"jwks_uri": 7}),
        (KEYS, {}),
        (KEYS, {"keys": "x"}),
        (KEYS, (500, {"keys": []})),
        (KEYS, gzip.compress(b'{"keys": []}')),
        (KEYS, b'{"keys": []}' + b" " * jwks.MAX_DOCUMENT_BYTES),
    ],
)
def test_a_document_that_is_none_is_an_error_to_come_again_after(
    provider: IdentityProvider, path: str, document: Any
) -> None:
    """
    Whatever the provider answers, it is bounded, nothing is followed elsewhere, and no key comes of it.
    """
    provider.documents[path] = document

    with pytest.raises(jwks.FetchError):
        jwks.fetch_keys(OidcConfig(issuer=provider.issuer, audience="a"))


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_no_redirect_is_followed(provider: IdentityProvider, path: str) -> None:
    """
    Where the keys are is what the config and the issuer say, and nobody else.
    """
    provider.documents[path] = 302

    with pytest.raises(jwks.FetchError, match="the status is 302"):
        jwks.fetch_keys(OidcConfig(issuer=provider.issuer, audience="a"))

    assert provider.requests == [DISCOVERY, KEYS][: 1 + (path == KEYS)]


def test_a_long_document_is_not_read_to_its_end(provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of a document of any length no more is taken into memory than may be there, and one byte that shows that it is more.
    """
    provider.documents[KEYS] = b'{"keys": []}' + b" " * 20 * jwks.MAX_DOCUMENT_BYTES
    whole, taken = urllib3.HTTPResponse.read, []

    def read(response: urllib3.HTTPResponse, *args: Any, **options: Any) -> bytes:
        taken.append(whole(response, *args, **options))
        return taken[-1]

    monkeypatch.setattr(urllib3.HTTPResponse, "read", read)

    with pytest.raises(jwks.FetchError, match="over 1048576 bytes"):
        jwks.fetch_keys(OidcConfig(issuer=provider.issuer, audience="a"))

    assert max(map(len, taken)) == jwks.MAX_DOCUMENT_BYTES + 1


def test_a_discovered_address_must_not_be_forgeable(provider: IdentityProvider) -> None:
    """
    Discovery may not lead away to plain text.
    """
    provider.documents[DISCOVERY] = {"issuer": provider.issuer, "jwks_uri": "http://example.com/keys"}

    with pytest.raises(jwks.FetchError, match="no https:// URL"):
        jwks.fetch_keys(OidcConfig(issuer=provider.issuer, audience="a"))


def test_a_provider_that_answers_nothing_is_given_up(provider: IdentityProvider) -> None:
    """
    A fetch ends after its timeout.
    """
    provider.answering.clear()

    with pytest.raises(jwks.FetchError, match=r"within 0\.2 s"):
        jwks.fetch_keys(OidcConfig(issuer=provider.issuer, audience="a", timeout_secs=0.2))


def test_keys_of_other_kinds_are_passed_over(provider: IdentityProvider) -> None:
    """
    A shared secret, garbage and a kind that nobody knows are no keys; those beside them are.
    """
    good = provider.public("first")
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}
    provider.documents[KEYS] = {"keys": [secret, 7, {}, {"kty": "RSA"}, {"kty": "EC", "crv": "X"}, good]}

    found = jwks.fetch_keys(OidcConfig(issuer=provider.issuer, audience="a", jwks_url=f"{provider.issuer}{KEYS}"))

    assert [key.key_id for key in found] == ["first"]
    assert provider.requests == [KEYS]
