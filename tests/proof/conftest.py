"""
A gateway for the modules that are hostile to it.
"""

from collections.abc import Iterator

import pytest

from meterline.testing.hostile_site import HostileSite


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileSite]:
    """
    Run a gateway that takes 8 MiB at most; a module's ``OPTIONS`` are more options of its listeners, by kind.
    """
    site = HostileSite(tmp_path_factory.mktemp("site"), **getattr(request.module, "OPTIONS", {}))
    with site.gateway:
        site.gateway.start()
        yield site
