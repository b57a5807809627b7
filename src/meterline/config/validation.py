"""
Checks a tree against a model, and says every error of it in a person's words, with the way to the value.

Validation is pydantic's strict JSON mode: what YAML typed is not coerced, so ``"5"`` is no number and ``1`` is no boolean.
Only what was substituted from the environment or a file is typed again, as a plain scalar, where the model wants no text.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from meterline.config.schema_walk import SchemaWalk, Way, schema_of
from meterline.config.source import Item, plain_value
from meterline.rules.suggest import did_you_mean

M = TypeVar("M", bound=BaseModel)

_EXPECTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "path_type": "a path",
    "none_required": "nothing",
}
_RETYPED: Final = frozenset(
    {"int_type", "int_from_float", "float_type", "decimal_type", "decimal_parsing", "bool_type", "literal_error"}
)
_LIMITS: Final = {
    "greater_than": ("must be above {gt}", "gt"),
    "greater_than_equal": ("must be at least {ge}", "ge"),
    "less_than": ("must be below {lt}", "lt"),
    "less_than_equal": ("must be at most {le}", "le"),
    "string_too_short": ("must have at least {min_length} characters", "min_length"),
    "string_too_long": ("must have at most {max_length} characters", "max_length"),
    "too_short": ("must have at least {min_length} entries", "min_length"),
    "too_long": ("must have at most {max_length} entries", "max_length"),
}
_EMPTY: Final[Mapping[str, Any]] = {
    "model_type": {},
    "dict_type": {},
    "mapping_type": {},
    "tuple_type": [],
    "list_type": [],
}
MASK: Final = "**********"
_VAGUE: Final = frozenset({"ML022", "ML024"})
_KINDS: Final = {"mapping": "a mapping", "list": "a list"}


@dataclass(frozen=True, slots=True)
class Fault:
    """
    An error at a way. ``at_key``: it is the key that is wrong. ``offset`` and ``length``: a part of the value's text, 0: all.
    """

    way: Way
    code: str
    message: str
    label: str = ""
    help: str = ""
    at_key: bool = False
    offset: int = 0
    length: int = 0


class Validation:
    """
    One section of a config and the model that it must fit. ``prefix``: the way to the section.
    """

    def __init__(self, section: Item, prefix: Way, extra: Mapping[str, Any] | None = None) -> None:
        """
        ``extra``: keys that the section gets besides its own.
        """
        self._section = section
        self._prefix = prefix
        self._extra = dict(extra or {})
        self._retyped: set[int] = set()
        self._emptied: dict[int, Any] = {}

    def run(self, model: type[M], base_dir: Path) -> tuple[M | None, list[Fault]]:
        """
        Return the model, or None and all faults.
        """
        if self._section.kind != "mapping" and not _is_empty(self._section):
            return None, [Fault(self._prefix, "ML022", said(self._prefix, self._section), "expected a mapping")]
        while True:
            try:
                text = json.dumps({**(self._plain(self._section) or {}), **self._extra})
                return model.model_validate_json(text, strict=True, context={"base_dir": base_dir}), []
            except ValidationError as error:
                found = error.errors(include_url=False)
                if not self._adapt(found):
                    return None, _merged([self._fault(one, schema_of(model)) for one in found])

    def _plain(self, item: Item) -> Any:
        if id(item) in self._emptied:
            return self._emptied[id(item)]
        if item.kind == "mapping":
            return {key: self._plain(value) for key, value in item.entries.items()}
        if item.kind == "list":
            return [self._plain(value) for value in item.items]
        return _json_scalar(plain_value(item.text) if id(item) in self._retyped else item.data)

    def _adapt(self, errors: Sequence[Any]) -> bool:
        """
        Type substituted texts as plain scalars where no text fits, take an empty section for ``{}`` or ``[]``; say if any.
        """
        changed = False
        for error in errors:
            _, item, _ = self._find(error["loc"])
            if item.substituted and id(item) not in self._retyped and error["type"] in _RETYPED:
                self._retyped.add(id(item))
                changed = True
            if _is_empty(item) and error["type"] in _EMPTY and id(item) not in self._emptied:
                self._emptied[id(item)] = _EMPTY[error["type"]]
                changed = True
        return changed

    def _find(self, loc: Sequence[str | int]) -> tuple[Way, Item, Way]:
        """
        Return the deepest value on the way, and the steps that lead nowhere (names of union members, missing keys).
        """
        way, item = self._prefix, self._section
        rest: Way = ()
        for step in loc:
            inner = item.entries.get(step) if isinstance(step, str) else _element(item, step)
            if inner is None:
                rest = (*rest, step)
            else:
                way, item, rest = (*way, step), inner, ()
        return way, item, rest

    def _fault(self, error: Any, schema: SchemaWalk) -> Fault:
        kind, loc = error["type"], error["loc"]
        way, item, rest = self._find(loc)
        if kind == "missing":
            return self._missing((*way, loc[-1]))
        if kind == "extra_forbidden":
            known = [key for key in schema.keys(way[len(self._prefix) : -1]) if key != "type" or not self._prefix]
            return Fault(way, "ML020", f"unknown key `{loc[-1]}`", "", did_you_mean(str(loc[-1]), known), at_key=True)
        fault = self._value_fault(error, way, item, schema)
        return replace(fault, label="", at_key=True) if rest[-1:] == ("[key]",) else fault

    def _missing(self, way: Way) -> Fault:
        parent = dotted(way[:-1])
        words = f"missing key `{way[-1]}`" + (f" in `{parent}`" if parent else "")
        return Fault(way[:-1], "ML021", words, "", f"write `{way[-1]}: ...`", at_key=True)

    def _value_fault(self, error: Any, way: Way, item: Item, schema: SchemaWalk) -> Fault:
        kind, name, shown = error["type"], dotted(way), _shown(item)
        context: Mapping[str, Any] = error.get("ctx", {})
        if kind in ("literal_error", "enum"):
            known = schema.words(way[len(self._prefix) :])
            return Fault(way, "ML023", f"`{name}` cannot be {shown}", f"expected {_or(known)}", _meant(item, known))
        if kind in _EXPECTED:
            label = f"expected {_EXPECTED[kind]}"
            return Fault(way, "ML022", said(way, item), label, _type_help(kind, item))
        if kind in _LIMITS:
            words, key = _LIMITS[kind] if context.get("min_length") != 1 else ("must not be empty", "min_length")
            label = f"it is {shown}" if item.kind == "scalar" else ""
            return Fault(way, "ML024", f"`{name}` {words.format(**{key: _plainly(context[key])})}", label)
        if kind == "value_error":
            words = str(context["error"])
            return _worded(way, name, words.replace(f"'{item.text}'", f"'{MASK}'") if item.substituted else words)
        if kind == "string_pattern_mismatch":
            return Fault(way, "ML025", f"`{name}` cannot be {shown}", f"must match {context['pattern']}")
        return Fault(way, "ML025", f"`{name}`: {_lowered(error['msg'])}")


def _worded(way: Way, name: str, words: str) -> Fault:
    message, separator, remedy = words.partition("; ")
    return Fault(way, "ML025", f"`{name}`: {message}" if name else message, "", remedy if separator else "")


def _merged(faults: Sequence[Fault]) -> list[Fault]:
    """
    Join what a union's members expect at one place into one fault.
    """
    found: dict[tuple[Way, str], list[Fault]] = {}
    for fault in faults:
        found.setdefault((fault.way, "" if fault.code == "ML022" else fault.message), []).append(fault)
    joined = [_joined(group) for group in found.values()]
    inner = {fault.way for fault in joined}
    return [fault for fault in joined if fault.code not in _VAGUE or not _covered(fault.way, inner)]


def _joined(group: Sequence[Fault]) -> Fault:
    expected = dict.fromkeys(fault.label.removeprefix("expected ") for fault in group)
    if "a number" in expected:
        expected.pop("a whole number", None)
    remedy = next((fault.help for fault in group if fault.help), "")
    return replace(group[0], label=f"expected {' or '.join(expected)}", help=remedy) if len(group) > 1 else group[0]


def _covered(way: Way, ways: set[Way]) -> bool:
    """
    Say whether a more exact fault stands below: a list whose element is wrong is also "no text", and an entry short.
    """
    return any(len(other) > len(way) and other[: len(way)] == way for other in ways)


def _element(item: Item, position: int) -> Item | None:
    return item.items[position] if 0 <= position < len(item.items) else None


def _json_scalar(value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


def dotted(way: Way) -> str:
    """
    Return the way as people write it: ``rules[0].match.metric``.
    """
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)
    return "".join(steps).lstrip(".")


def _is_empty(item: Item) -> bool:
    """
    Say whether nothing was written: ``grpc:`` alone is as good as ``grpc: {}``.
    """
    return item.kind == "scalar" and item.data is None and item.plain


def said(way: Way, item: Item) -> str:
    """
    Return what stands at a way, in words.
    """
    return f"`{dotted(way)}` is {_described(item)}"


def _plainly(limit: Any) -> Any:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _shown(item: Item) -> str:
    if item.substituted:
        return "what was substituted"
    if item.kind != "scalar":
        return _KINDS.get(item.kind, "this")
    return f"'{item.text}'" if isinstance(item.data, str) else item.text


def _described(item: Item) -> str:
    if item.kind != "scalar":
        return _KINDS.get(item.kind, "something else")
    if item.substituted:
        return "substituted text"
    value = item.data
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false" if item.text == "" else f"the boolean {item.text}"
    return f"the text '{item.text}'" if isinstance(value, str) else f"the number {item.text}"


def _type_help(kind: str, item: Item) -> str:
    if kind == "string_type" and item.kind == "scalar" and item.data is not None and not isinstance(item.data, str):
        return f'quote it: "{item.text}"'
    if kind != "string_type" and isinstance(item.data, str) and item.style and plain_value(item.text) != item.text:
        return "write it without quotes"
    if kind == "bool_type" and isinstance(item.data, str) and item.text.lower() in ("yes", "no", "on", "off"):
        return "YAML 1.2 writes true or false"
    return ""


def _or(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else "".join(words)


def _meant(item: Item, words: Sequence[str]) -> str:
    found = did_you_mean(item.text, words)
    return found if found.startswith("did") else ""


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
