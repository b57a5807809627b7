"""
docs/configuration.md, made from the models of the core and of every installed plugin; ``docs/generate.py`` writes it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from meterline.cli.pages import markdown_table
from meterline.cli.plugins import options
from meterline.config.codes import CODES
from meterline.config.schema import core_schema, json_schema
from meterline.plugins import Kind, available, load
from meterline.rules.model import Condition, LookupConfig, MatchConfig, RuleConfig

_HEAD = """\
# Configuration

<!-- Made by docs/generate.py from the code; edit there. -->

One YAML 1.2 file. `meterline init` writes a first one, `meterline validate CONFIG` checks it: every error at once, with its
line, a caret and what was probably meant. An unknown or repeated key is an error. `meterline.schema.json` beside this page
is the JSON Schema that editors complete from.

Relative paths are relative to the file. In any value:

| written | becomes |
|---|---|
| `${env:NAME}` | the environment variable; an error when it is not set |
| `${env:NAME:-text}` | the same, or the text when it is not set or empty |
| `${file:PATH}` | the text of a file, without its last line end |
| `$$` | a dollar sign |

What is put in is typed like a value without quotes where a number or a boolean belongs. Inside `{ }` and `[ ]`, quote texts
that have `${` in them. Any other `${` is left alone; in rules it opens a template (see [rules](rules.md)), and what was put
in by `${env:}` or `${file:}` never does. Secrets print as `**********` everywhere, error messages included.

Sizes are in bytes, times in seconds, as the names say.
"""

_PLUGINS: tuple[tuple[str, Kind], ...] = (("receivers", "receiver"), ("exporters", "exporter"))
_RULES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("A rule", RuleConfig),
    ("`match`", MatchConfig),
    ("A condition in `match`", Condition),
    ("`lookup`", LookupConfig),
)


def configuration_page() -> str:
    """
    Return the page.
    """
    return "\n".join((_HEAD, *_core(), *_rules(), *_plugins(), *_codes()))


def schema_text() -> str:
    """
    Return docs/meterline.schema.json.
    """
    return json.dumps(json_schema(), indent=2) + "\n"


def _core() -> Iterator[str]:
    schema = core_schema()
    definitions = schema["$defs"]
    nested: list[tuple[str, Mapping[str, Any]]] = []
    single: dict[str, Any] = {}
    for name, option in schema["properties"].items():
        reference = option.get("$ref", "").rpartition("/")[2]
        if reference:
            nested.append((name, definitions[reference]))
        else:
            single[name] = option
    yield "## Top level\n"
    required = [name for name in schema["required"] if name in single]
    yield _table({"properties": single, "required": required, "$defs": definitions})
    for name, section in nested:
        yield f"## `{name}`\n\n{section['description']}\n"
        yield _table({**section, "$defs": definitions})


def _rules() -> Iterator[str]:
    yield "## `rules`\n\nWhat each option means exactly stands in [rules](rules.md).\n"
    for title, model in _RULES:
        yield f"### {title}\n"
        rows = [_field_row(field.alias or name, field) for name, field in model.model_fields.items()]
        yield markdown_table(("option", "default", "meaning"), rows)


def _field_row(name: str, field: FieldInfo) -> tuple[str, str, str]:
    default = field.get_default(call_default_factory=True)
    written = "" if field.is_required() or default is None or default == {} else f"`{_yaml(default)}`"
    meaning = field.description or "Which points the rule is about; see below."
    return f"`{name}`", written, f"**required.** {meaning}" if field.is_required() else meaning


def _yaml(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _plugins() -> Iterator[str]:
    for section, kind in _PLUGINS:
        yield f"## `{section}`\n\nBy a name of your own; `type` says which plugin it is, by default the name itself.\n"
        for name in available(kind):
            plugin = load(kind, name)
            yield f"### `{section}.{name}`\n\n{plugin.spec.summary}\n"
            yield _table(plugin.Config.model_json_schema())


def _codes() -> Iterator[str]:
    yield "## Errors and warnings\n\nEach finding has a code, which keeps its meaning.\n"
    yield markdown_table(("code", "meaning"), [(f"`{code}`", meaning) for code, meaning in CODES.items()])


def _table(schema: Mapping[str, Any]) -> str:
    rows = [
        (
            f"`{name}`",
            kind.replace(" | ", ", "),
            "" if default in {"null", "required"} else f"`{default}`",
            f"**required.** {meaning}" if default == "required" else meaning,
        )
        for name, kind, default, meaning in options(schema)
        if name != "type"
    ]
    return markdown_table(("option", "type", "default", "meaning"), rows)
