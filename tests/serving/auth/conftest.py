"""
Authenticators with a clock of the test's own.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from meterline.serving.auth import Authenticator
from meterline.serving.auth_config import AuthConfig
from meterline.testing.identity_provider import IdentityProvider


@dataclass
class TestClock:
    """
    The machine's clocks, moved by the test.
    """

    __test__ = False

    ahead_secs: float = 0.0
    start: float = field(default_factory=time.monotonic)

    def now_ns(self) -> int:
        return time.time_ns() + round(self.ahead_secs * 10**9)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_secs


@pytest.fixture
def clock() -> TestClock:
    """
    Return a clock that runs and can be put ahead.
    """
    return TestClock()


Make = Callable[..., Authenticator]


@pytest.fixture
def make(clock: TestClock) -> Make:
    """
    Return a function that makes an authenticator of an ``auth`` section.
    """

    def of(*, by_certificate: bool = False, **auth: Any) -> Authenticator:
        config = AuthConfig.model_validate(auth) if auth else None
        return Authenticator(config, by_certificate=by_certificate, clock=clock, log=structlog.get_logger())

    return of


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    """
    Return a running identity provider.
    """
    with IdentityProvider() as running:
        yield running
