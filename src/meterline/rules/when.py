"""
A rule's ``when`` bound to what it reads: when it can be answered, from which values, and never true by mistake.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from meterline.kernel.seam import ABSENT, Context, Fields, Path
from meterline.rules.predicate import READING, Predicate, timestamp, to_cel
from meterline.rules.selectors import View
from meterline.rules.text import checked
from meterline.rules.views import PointLook

Binder: TypeAlias = Callable[[View], Any]
Stage: TypeAlias = Literal["context", "shape", "point"]

_CONSTANT: Final = frozenset({"resource", "scope", "metric"})
_LOG_DEFAULTS: Final = {"severity": "", "severity_number": 0, "event_name": ""}


@dataclass(frozen=True, slots=True)
class When:
    """
    ``stage``: with the context, with the shape, or per point. ``fields``: what the projection must have for it.
    """

    predicate: Predicate
    stage: Stage
    fields: tuple[Path, ...] | Fields
    binders: tuple[tuple[str, Binder], ...]

    def holds(self, view: View) -> bool:
        """
        Answer for a context, a shape or a point, as ``stage`` says. Raises RuleError and BadValueError.
        """
        return self.predicate.holds({name: bind(view) for name, bind in self.binders})


def compile_when(source: str, *, log: bool, json_body: bool) -> When:
    """
    Compile. Raises ProblemError.
    """
    predicate = Predicate(source, log=log)
    reads = predicate.reads
    body = "body_json" if json_body else "body"
    stage: Stage = "shape"
    if reads.variables & READING:
        stage = "point"
    elif reads.variables <= _CONSTANT | _type_names(reads.variables):
        stage = "context"
    binders = tuple(
        (name, _binder(name, predicate, body)) for name in sorted(reads.variables - _type_names(reads.variables))
    )
    return When(predicate, stage, _fields(predicate, stage, body, log=log), binders)


def _type_names(names: set[str]) -> set[str]:
    return names - READING - _CONSTANT - {"attributes", "body", *_LOG_DEFAULTS}


def _keys(predicate: Predicate, variable: str) -> tuple[str, ...] | None:
    if variable in predicate.reads.whole:
        return None
    return tuple(sorted(key for name, key in predicate.reads.keys if name == variable))


def _fields(predicate: Predicate, stage: Stage, body: str, *, log: bool) -> tuple[Path, ...] | Fields:
    variables = predicate.reads.variables
    paths: list[Path] = [(name,) for name in _LOG_DEFAULTS if name in variables]
    if stage != "point" and "attributes" in variables:  # a point that is asked by itself shows its attributes
        keys = _keys(predicate, "attributes")
        if keys is None and not log:
            return Fields.ALL
        paths += [("attributes",)] if keys is None else [("attributes", key) for key in keys]
    if "body" in variables:
        keys = _keys(predicate, "body")
        paths += [(body,)] if keys is None else [(body, key) for key in keys]
    return tuple(paths)


def _binder(name: str, predicate: Predicate, body: str) -> Binder:
    if name == "time":
        return lambda view: timestamp(_reading(view, "time"))
    if name in READING:
        return lambda view: _reading(view, name)
    if name in _LOG_DEFAULTS:
        return lambda view: checked(view.read((name,))) or _LOG_DEFAULTS[name]
    keys = _keys(predicate, name)
    if name in _CONSTANT:
        whole = _CONSTANTS[name]
        return lambda view: _some(whole(view.context), keys)
    return _point_binder(body if name == "body" else name, keys)


def _reading(view: View, name: str) -> Any:
    assert isinstance(view, PointLook)  # noqa: S101 - conditions that read these are of stage "point"
    return getattr(view.point, name)


def _some(values: dict[str, Any], keys: tuple[str, ...] | None) -> Any:
    return to_cel(values if keys is None else {key: values[key] for key in keys if key in values})


def _point_binder(root: str, keys: tuple[str, ...] | None) -> Binder:
    if keys is None:
        return lambda view: _or_null(to_cel(view.read((root,))))
    paths = tuple((key, (root, key)) for key in keys)
    return lambda view: {key: to_cel(value) for key, path in paths if (value := view.read(path)) is not ABSENT}


def _or_null(value: Any) -> Any:
    return None if value is ABSENT else value


def _resource(context: Context) -> dict[str, Any]:
    return dict(context.resource)


def _scope(context: Context) -> dict[str, Any]:
    return {**context.scope, "name": context.scope_name, "version": context.scope_version}


def _metric(context: Context) -> dict[str, Any]:
    return {
        "name": context.name,
        "unit": context.unit,
        "type": context.type.value,
        "temporality": context.temporality.name.lower(),
        "monotonic": context.monotonic,
    }


_CONSTANTS: Final[dict[str, Callable[[Context], dict[str, Any]]]] = {
    "resource": _resource,
    "scope": _scope,
    "metric": _metric,
}
