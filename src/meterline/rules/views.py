"""
What rules look at: the projection of a shape, or one whole point.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NoReturn

from meterline.kernel.seam import ABSENT, Bad, Context, Path, PointView, Value
from meterline.rules.selectors import View, dig


def json_body(body: Value) -> Value:
    """
    Return a text body read as JSON, numbers exact; a body that has structure already as it is; ABSENT for anything else.
    """
    if not isinstance(body, str):
        return body if isinstance(body, Mapping | list | Bad) else ABSENT
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError, ArithmeticError):
        return ABSENT


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class ContextView:
    """
    Only what is constant; nothing of a point is there.
    """

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context

    def read(self, path: Path) -> Value:  # noqa: ARG002 - the protocol's signature
        """
        Return ABSENT.
        """
        return ABSENT


class ShapeView:
    """
    The values of a projection, by path.
    """

    __slots__ = ("_values", "context")

    def __init__(self, context: Context, values: Mapping[Path, Value]) -> None:
        self.context = context
        self._values = values

    def read(self, path: Path) -> Value:
        """
        Return the value at a path of the projection.
        """
        return self._values[path]


class WholeView:
    """
    A whole point as one mapping: ``attributes``, ``body``, ``severity``, ...
    """

    __slots__ = ("_json", "_point", "context")

    def __init__(self, context: Context, point: Mapping[str, Value]) -> None:
        self.context = context
        self._point = point
        self._json: Value = None

    def read(self, path: Path) -> Value:
        """
        Return the value at any path.
        """
        if path[0] == "body_json":
            if self._json is None:
                self._json = json_body(self._point.get("body", ABSENT))
            return dig(self._json, path[1:])
        return dig(self._point, path)


class PointLook:
    """
    One point with its reading and time, for conditions that are answered per point.
    """

    __slots__ = ("_shape", "_whole", "context", "point")

    def __init__(self, point: PointView, shape: View) -> None:
        """
        ``shape``: the view of its shape, which holds what the point itself does not show.
        """
        self.point = point
        self.context = point.shape.context
        self._shape = shape
        self._whole = WholeView(self.context, {"attributes": point.attributes, "body": point.body})

    def read(self, path: Path) -> Value:
        """
        Return a value of the attributes or the body, or else of the projection.
        """
        return (self._whole if path[0] in _IN_POINT else self._shape).read(path)


_IN_POINT: Final = frozenset({"attributes", "body", "body_json"})
