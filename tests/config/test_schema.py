"""
The JSON Schema for editors, and the pages made from the models.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from meterline import plugins
from meterline.cli.config_page import configuration_page, schema_text
from meterline.config import json_schema
from meterline.config.model import CoreConfig
from meterline.kernel.reasons import Reason
from meterline.plugins import GROUPS, BrokenPluginError, available, load


def nodes(schema: Any) -> list[dict[str, Any]]:
    """
    Return every mapping inside a schema.
    """
    children = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = [schema] if isinstance(schema, dict) else []
    return own + [node for child in children for node in nodes(child)]


def test_the_checked_in_schema_is_what_the_models_make(root: Path) -> None:
    """docs/meterline.schema.json has not drifted; ``python docs/generate.py --write`` renews it."""
    assert (root / "docs/meterline.schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_configuration_page_is_what_the_models_make(root: Path) -> None:
    """docs/configuration.md has not drifted."""
    assert (root / "docs/configuration.md").read_text(encoding="utf-8") == configuration_page()


def test_every_option_of_every_section_is_on_the_page() -> None:
    """No option of the core or of a plugin is without its line and its meaning."""
    page = configuration_page()

    for section, field in CoreConfig.model_fields.items():
        assert f"`{section}`" in page, field
    names = {name for kind in GROUPS for plugin in available(kind) for name in load(kind, plugin).Config.model_fields}
    assert {
        name for name in names - {"type"} if not re.search(rf"^\| `({name}`|{name}\.)", page, re.MULTILINE)
    } == set()
    assert re.search(r"\|  \|$", page, re.MULTILINE) is None, "an option without a meaning"


def test_it_is_draft_07_with_every_reference_there() -> None:
    """What the language server supports: definitions, no newer keywords, no reference into nothing."""
    schema = json_schema()
    keywords = {key for node in nodes(schema) for key in node}

    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert not {"$defs", "prefixItems", "unevaluatedProperties", "dependentRequired"} & keywords
    references = {node["$ref"] for node in nodes(schema) if isinstance(node.get("$ref"), str)}
    assert references
    assert {ref for ref in references if ref.removeprefix("#/definitions/") not in schema["definitions"]} == set()


def test_unknown_keys_are_refused_everywhere() -> None:
    """Every model of the core and of the plugins says so to the editor."""
    schema = json_schema()
    models = [node for node in schema["definitions"].values() if "properties" in node]

    assert len(models) > 20
    assert [node for node in models if node.get("additionalProperties") is not False] == []
    assert schema["additionalProperties"] is False


def test_each_plugin_has_its_section() -> None:
    """A section is checked by the plugin of its name, or of its type."""
    schema = json_schema()

    for section, kind in (("receivers", "receiver"), ("exporters", "exporter")):
        named = schema["properties"][section]["properties"]
        assert sorted(named) == sorted(available(kind))
        for name in available(kind):
            definition = schema["definitions"][f"{kind}.{name}"]
            assert set(definition["properties"]) == set(load(kind, name).Config.model_fields)
            assert "type" not in definition["required"]


def test_a_substitution_may_stand_where_a_number_belongs() -> None:
    """An editor does not complain of ``${env:MAX_BYTES}``."""
    option = json_schema()["definitions"]["LedgerConfig"]["properties"]["max_bytes"]

    assert {"$ref": "#/definitions/substitution"} in option["anyOf"]
    assert option["default"] == 10_737_418_240


def test_a_plugin_that_does_not_load_may_have_any_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """One broken plugin does not take the schema of the others away."""

    def broken(kind: str, name: str) -> Any:
        if name == "file":
            raise BrokenPluginError("loading exporter plugin `file`: no")
        return load(kind, name)  # type: ignore[arg-type]

    monkeypatch.setattr("meterline.config.schema.load", broken)

    definitions = json_schema()["definitions"]
    assert definitions["exporter.file"] == {"type": "object"}
    assert "properties" in definitions["receiver.otlp"]
    assert plugins.available("exporter")


def test_the_schema_can_be_stored() -> None:
    """It is plain JSON, the same at every call."""
    assert json.loads(schema_text()) == json_schema() == json_schema()


def test_reasons_page_has_every_reason(root: Path) -> None:
    """docs/reasons.md names each code with its kind."""
    page = (root / "docs/reasons.md").read_text(encoding="utf-8")

    assert [
        reason.code for reason in Reason if f"| `{reason.code}` | {reason.kind} | {reason.text} |" not in page
    ] == []
