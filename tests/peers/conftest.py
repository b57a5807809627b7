"""
What the peer tests share: a gateway that bills what the SDK senders send.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meterline.testing.sdks import RULES
from meterline.testing.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """
    Start a gateway with the SDK senders' rules.
    """
    site = Site(tmp_path, rules=RULES, http=True)
    with site.gateway:
        site.gateway.start()
        yield site
