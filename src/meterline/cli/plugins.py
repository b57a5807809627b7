"""
``meterline plugins``: which receivers and exporters are installed, and what they can be told.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, get_args

import click

from meterline.api import Exporter, Receiver
from meterline.cli.output import json_line, table
from meterline.plugins import Kind, UnknownPluginError, available, load
from meterline.rules.suggest import did_you_mean

KINDS: tuple[Kind, ...] = get_args(Kind)
Plugin = type[Receiver[Any]] | type[Exporter[Any]]


@click.group(name="plugins")
def command() -> None:
    """
    Look at the installed receivers and exporters.
    """


@command.command(name="ls")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def ls(*, as_json: bool) -> None:
    """
    List the installed plugins.
    """
    facts = [asdict(load(kind, name).spec) for kind in KINDS for name in available(kind)]
    if as_json:
        for fact in facts:
            json_line(fact)
    else:
        columns = ("kind", "name", "stability", "summary")
        table(columns, [[fact[column] for column in columns] for fact in facts])


@command.command(name="show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the JSON Schema of the options.")
def show(name: str, *, as_json: bool) -> None:
    """
    Print what the plugins called NAME do, and every option they have.
    """
    found = [load(kind, name) for kind in KINDS if name in available(kind)]
    if not found:
        names = sorted({known for kind in KINDS for known in available(kind)})
        raise UnknownPluginError("exporter", name, did_you_mean(name, names) or "`meterline plugins ls` lists them all")
    for plugin in found:
        if as_json:
            json_line({**asdict(plugin.spec), "schema": plugin.Config.model_json_schema()})
        else:
            _describe(plugin)


def _describe(plugin: Plugin) -> None:
    spec = plugin.spec
    click.echo(f"{spec.kind} {spec.name} ({spec.stability}): {spec.summary}\n")
    table(("option", "type", "default", "meaning"), options(plugin.Config.model_json_schema()))
    click.echo()


def options(schema: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """
    Return every option of a JSON Schema: dotted name, type, default (``required`` where there is none), meaning.
    """
    return list(_options(schema, schema.get("$defs", {}), ""))


def _options(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    for name, written in schema.get("properties", {}).items():
        option = _resolved(written, definitions)
        inner = next((part for part in _alternatives(option, definitions) if "properties" in part), None)
        if inner is not None:
            yield from _options(inner, definitions, f"{prefix}{name}.")
        else:
            default = "required" if name in required else json.dumps(written.get("default"))
            default = "its name" if f"{prefix}{name}" == "type" else default
            yield f"{prefix}{name}", type_text(option, definitions), default, option.get("description", "")


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    return {**definitions[reference], **schema} if reference else schema


def _alternatives(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return [_resolved(part, definitions) for part in parts]


def type_text(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """
    Return a JSON Schema's type in a word or two; null is left out, since every optional option takes it.
    """
    words = [_one_type(part, definitions) for part in _alternatives(schema, definitions) if part.get("type") != "null"]
    return " or ".join(dict.fromkeys(words))


def _one_type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {type_text(_resolved(schema.get('items', {}), definitions) or {'type': 'any'}, definitions)}"
    return str(schema.get("format") or schema.get("type", "any"))
