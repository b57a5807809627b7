"""
What rules look at: what is constant for a context, the projection of a shape, or one whole point.
"""

from collections.abc import Mapping

from meterline.kernel.seam import ABSENT, Context, Path, PointView, Value
from meterline.rules.selectors import View, dig


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
    A whole point as one mapping: ``attributes`` and ``body``.
    """

    __slots__ = ("_point", "context")

    def __init__(self, context: Context, point: Mapping[str, Value]) -> None:
        self.context = context
        self._point = point

    def read(self, path: Path) -> Value:
        """
        Return the value at any path.
        """
        return dig(self._point, path)


class PointLook:
    """
    One point with its reading and time, for conditions that are answered per point.
    """

    __slots__ = ("_shape", "context", "point")

    def __init__(self, point: PointView, shape: View) -> None:
        """
        ``shape``: the view of its shape, which holds what the point itself does not show.
        """
        self.point = point
        self.context = point.shape.context
        self._shape = shape

    def read(self, path: Path) -> Value:
        """
        Return a value of the attributes, or else of the projection.
        """
        return dig(self.point.attributes, path[1:]) if path[0] == "attributes" else self._shape.read(path)
