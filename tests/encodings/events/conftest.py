"""
What the transcoded bodies hold, read back with the foreign protobuf library.
"""

from collections.abc import Callable, Sequence

import pytest

from meterline.api import Body
from meterline.testing.transcoded import Transcoded


@pytest.fixture
def read() -> Callable[[Sequence[Body]], Transcoded]:
    """
    Return what reads bodies back.
    """
    return Transcoded
