"""
Listeners that are stopped at the end of each test.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meterline.serving.seam import Page
from meterline.testing.http_rig import Rig, StubEndpoint, StubPage
from meterline.testing.http_rig import open_rig as opened


@pytest.fixture
def open_rig() -> Iterator[Callable[..., Rig]]:
    """
    Start listeners with options; all are stopped at the end, and nothing may be left reserved then.
    """
    rigs: list[Rig] = []

    def start(*endpoints: StubEndpoint, **options: Any) -> Rig:
        rigs.append(opened(*endpoints, **options))
        return rigs[-1]

    yield start
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(open_rig: Callable[..., Rig]) -> Rig:
    """
    A listener with all defaults.
    """
    return open_rig()


@pytest.fixture
def page() -> Page:
    """
    A page at ``/page``.
    """
    return StubPage()
