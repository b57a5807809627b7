"""
Follows the way to a value through a JSON Schema: which keys, words and secrets belong there.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from pydantic import BaseModel

Schema: TypeAlias = Mapping[str, Any]
Way: TypeAlias = tuple[str | int, ...]


class SchemaWalk:
    """
    A schema with its definitions.
    """

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._definitions: Mapping[str, Schema] = root.get("$defs", {})

    def at(self, way: Way) -> list[Schema]:
        """
        Return every schema that may hold for the value at this way.
        """
        found = list(self._alternatives(self._root))
        for step in way:
            found = [
                alternative
                for schema in found
                for inner in _inner(schema, step)
                for alternative in self._alternatives(inner)
            ]
        return found

    def _alternatives(self, schema: Schema) -> Iterator[Schema]:
        if "$ref" in schema:
            yield from self._alternatives(self._definitions[schema["$ref"].rpartition("/")[2]])
            return
        yield schema
        for key in ("anyOf", "oneOf", "allOf"):
            for inner in schema.get(key, ()):
                yield from self._alternatives(inner)

    def keys(self, way: Way) -> list[str]:
        """
        Return the keys that a mapping at this way may have.
        """
        return list(dict.fromkeys(key for schema in self.at(way) for key in schema.get("properties", ())))

    def words(self, way: Way) -> list[str]:
        """
        Return the words that a value at this way may be, when it is one of a list.
        """
        found = [word for schema in self.at(way) for word in (*schema.get("enum", ()), *_const(schema))]
        return [word if isinstance(word, str) else json.dumps(word) for word in dict.fromkeys(found)]

    def is_secret(self, way: Way) -> bool:
        """
        Say whether the value at this way is a secret.
        """
        return any(schema.get("writeOnly") is True for schema in self.at(way))


@cache
def schema_of(model: type[BaseModel]) -> SchemaWalk:
    """
    Return the schema of a model, made once.
    """
    return SchemaWalk(model.model_json_schema())


def _const(schema: Schema) -> tuple[Any, ...]:
    return (schema["const"],) if "const" in schema else ()


def _inner(schema: Schema, step: str | int) -> Iterator[Schema]:
    if isinstance(step, int):
        if isinstance(schema.get("items"), Mapping):
            yield schema["items"]
    elif step in schema.get("properties", {}):
        yield schema["properties"][step]
    elif isinstance(schema.get("additionalProperties"), Mapping):
        yield schema["additionalProperties"]
