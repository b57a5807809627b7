"""
An example, on ports of its own.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meterline.testing.examples import Example


@pytest.fixture
def example(root: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Example]:
    """
    Copy an example to free ports; its gateway is killed at the end.
    """
    with Example(root / "examples" / request.param, tmp_path) as example:
        yield example
