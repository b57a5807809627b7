"""
The listeners in a receiver's section, wherever they stand in it.
"""

from collections.abc import Iterator

from pydantic import BaseModel

from meterline.config.schema_walk import Way
from meterline.serving.config import ListenerConfig


def listeners(way: Way, section: BaseModel) -> Iterator[tuple[Way, ListenerConfig]]:
    """
    Yield each listener's section with its way.
    """
    if isinstance(section, ListenerConfig):
        yield way, section
    for key, value in section:
        if isinstance(value, BaseModel):
            yield from listeners((*way, key), value)
