"""
What may be logged of an exception that nobody expected: where it came from, never its words, which may quote a payload.
"""

import traceback
from pathlib import PurePath

_FRAMES = 12


def described(error: BaseException) -> str:
    """
    Return the exception's type and the places that it came through, the innermost last.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__qualname__} at {places}" if places else type(error).__qualname__
