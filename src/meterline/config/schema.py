"""
The JSON Schema of a config, for editors (draft-07), from the models of the core and of every installed plugin.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from meterline.config.model import CoreConfig
from meterline.plugins import BrokenPluginError, Kind, available, load

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
_TYPED: Final = ("integer", "number", "boolean")
_SECTIONS: Final[Mapping[str, Kind]] = {"receivers": "receiver", "exporters": "exporter"}


@cache
def core_schema() -> dict[str, Any]:
    """
    Return the schema of the core's sections, plugins left open.
    """
    return CoreConfig.model_json_schema()


def json_schema() -> dict[str, Any]:
    """
    Return the schema of a whole config. Loads every installed plugin; one that does not load may have any options.
    """
    schema: dict[str, Any] = json.loads(json.dumps(core_schema()).replace("#/$defs/", "#/definitions/"))
    definitions = schema.pop("$defs")
    for section, kind in _SECTIONS.items():
        schema["properties"][section] = _section(schema["properties"][section], kind, definitions)
    definitions["substitution"] = {"type": "string", "pattern": r"\$\{(env|file):"}
    head = {"$schema": DRAFT, "title": "Meterline configuration"}
    whole = {key: value for key, value in schema.items() if key != "title"}
    return {**head, **_substitutable({**whole, "definitions": definitions})}


def _substitutable(schema: Any) -> Any:
    """
    Let ``${env:NAME}`` stand where a number, a boolean or one of some words belongs.
    """
    if isinstance(schema, list):
        return [_substitutable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _substitutable(value) for key, value in schema.items()}
    if schema.get("type") not in _TYPED and not ("enum" in schema and schema.get("type") == "string"):
        return inner
    outer = {key: inner.pop(key) for key in ("title", "description", "default") if key in inner}
    return {**outer, "anyOf": [inner, {"$ref": "#/definitions/substitution"}]}


def _section(core: dict[str, Any], kind: Kind, definitions: dict[str, Any]) -> dict[str, Any]:
    names = available(kind)
    for name in names:
        definitions |= _plugin(kind, name)
    by_type = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"$ref": f"#/definitions/{kind}.{name}"},
        }
        for name in names
    ]
    named = {
        name: {"if": {"required": ["type"]}, "then": {"allOf": by_type}, "else": _reference(kind, name)}
        for name in names
    }
    other = {"type": "object", "required": ["type"], "properties": {"type": {"enum": list(names)}}, "allOf": by_type}
    return {
        "type": "object",
        "description": core.get("description", ""),
        "properties": named,
        "additionalProperties": other,
    }


def _reference(kind: Kind, name: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{kind}.{name}"}


def _plugin(kind: Kind, name: str) -> dict[str, Any]:
    """
    Return a plugin's definitions, each under a name of its own; ``type`` is not required where the name says it.
    """
    prefix = f"{kind}.{name}"
    try:
        own = load(kind, name).Config.model_json_schema()
    except BrokenPluginError:
        return {prefix: {"type": "object"}}
    inner = own.pop("$defs", {})
    found = {prefix: own, **{f"{prefix}.{key}": value for key, value in inner.items()}}
    text = json.dumps(found).replace("#/$defs/", f"#/definitions/{prefix}.")
    renamed: dict[str, Any] = json.loads(text)
    renamed[prefix]["required"] = [key for key in own.get("required", ()) if key != "type"]
    return renamed
