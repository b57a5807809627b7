"""
The README.md of a plugin's folder, made from its spec, its config's schema and its contract.

A third party uses it as the built-in plugins do: ``plugin_page(MyExporter, notes)`` in a generator and in a drift test.
Examples stand in the config model: ``model_config = ConfigDict(json_schema_extra={"examples": [{...}]})``.
"""

import inspect
import io
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from ruamel.yaml import YAML

from meterline.api import DeliveryContract, Exporter, ExporterContext, Receiver, SystemClock
from meterline.cli.pages import markdown_table, options_table
from meterline.cli.plugins import options
from meterline.plugins import available, load_exporter, load_receiver
from meterline.serving.config import GrpcListenerConfig, HttpListenerConfig

_MADE = "<!-- Made by docs/generate.py from the code; edit there. -->"


def exporter_pages(root: Path) -> dict[str, Callable[[], str]]:
    """
    Return what makes ``exporters/<name>/README.md`` of every exporter that has its ``notes.md`` there.
    """
    folders = [root / "exporters" / name for name in available("exporter")]
    noted = [folder for folder in folders if (folder / "notes.md").exists()]
    return {f"exporters/{folder.name}/README.md": partial(_page_of, folder) for folder in noted}


def _page_of(folder: Path) -> str:
    return plugin_page(load_exporter(folder.name), (folder / "notes.md").read_text("utf-8"))


def receiver_pages(root: Path) -> dict[str, Callable[[], str]]:
    """
    Return what makes ``receivers/<name>/README.md`` of every receiver that has its ``notes.md`` there.
    """
    folders = [root / "receivers" / name for name in available("receiver")]
    noted = [folder for folder in folders if (folder / "notes.md").exists()]
    return {f"receivers/{folder.name}/README.md": partial(_receiver_page_of, folder) for folder in noted}


def _receiver_page_of(folder: Path) -> str:
    return receiver_page(load_receiver(folder.name), (folder / "notes.md").read_text("utf-8"))


def receiver_page(plugin: type[Receiver[Any]], notes: str) -> str:
    """
    Return the page of one receiver; options that every listener has stand in docs/listeners.md alone.
    """
    schema = plugin.Config.model_json_schema()
    parts = [
        f"# Receiver `{plugin.spec.name}`\n\n{_MADE}\n\n{plugin.spec.summary}\n\n{_prose(plugin)}\n",
        *(_receiver_example(plugin, example) for example in schema.get("examples", ())),
        "## Options\n\n" + options_table(_own(schema)) + _listens(schema),
        notes,
    ]
    return "\n".join(parts)


_LISTENER: Final = frozenset(HttpListenerConfig.model_fields) | frozenset(GrpcListenerConfig.model_fields)


def _own(schema: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    return [row for row in options(schema) if not _shared(row[0]) or row[0].endswith("endpoint")]


def _shared(name: str) -> bool:
    parts = name.split(".")
    return parts[parts[0] in {"grpc", "http"} and len(parts) > 1] in _LISTENER


def _listens(schema: Mapping[str, Any]) -> str:
    found = any(_shared(row[0]) for row in options(schema))
    return "\nAnd what every listener has: [docs/listeners.md](../../docs/listeners.md).\n" if found else ""


def _receiver_example(plugin: type[Receiver[Any]], example: Mapping[str, Any]) -> str:
    plugin.Config.model_validate({"type": plugin.spec.name, **example})
    return f"```yaml\n{_yaml({'receivers': {plugin.spec.name: dict(example)}})}```\n"


def _yaml(data: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    text = io.StringIO()
    yaml.dump(data, text)
    return text.getvalue()


def plugin_page(plugin: type[Exporter[Any]], notes: str) -> str:
    """
    Return the page of one exporter; ``notes``: its sections that no code can know.
    """
    schema = plugin.Config.model_json_schema()
    parts = [
        f"# Exporter `{plugin.spec.name}`\n\n{_MADE}\n\n{plugin.spec.summary}\n\n{_prose(plugin)}\n",
        *(_example(plugin, example) for example in schema.get("examples", ())),
        "## Options\n\n" + options_table(options(schema)),
        notes,
    ]
    return "\n".join(parts)


def _prose(plugin: type[Exporter[Any]] | type[Receiver[Any]]) -> str:
    """
    Return the class's own words; reStructuredText's double backticks become Markdown's.
    """
    return re.sub(r"``", "`", inspect.cleandoc(plugin.__doc__ or ""))


def _example(plugin: type[Exporter[Any]], example: Mapping[str, Any]) -> str:
    text = _yaml({"exporters": {"usage": {"type": plugin.spec.name, **example}}})
    config = plugin.Config.model_validate({"type": plugin.spec.name, **example})
    context = ExporterContext("ledger", SystemClock(), structlog.get_logger())
    contract = plugin("usage", config, context).contract
    return f"```yaml\n{text}```\n\n## What it promises\n\n{markdown_table(('', ''), _promises(contract))}"


def _promises(contract: DeliveryContract) -> list[tuple[str, str]]:
    unknown = "cut back and written again: never twice" if contract.never_unknown else _unknown(contract)
    lines = [
        ("a send without an answer", unknown),
        (
            "results",
            "for each record" if contract.per_record_results else "for a batch as a whole; a refused one is split",
        ),
        ("quantities", contract.value_type),
        ("refusals after the answer", "possible" if contract.rejects_later else "none"),
    ]
    limits = {
        "records in a batch": contract.max_records,
        "bytes in a batch": contract.max_bytes,
        "oldest record (s)": contract.oldest_secs,
        "furthest in the future (s)": contract.newest_secs,
    }
    return lines + [(name, f"at most {value:,}") for name, value in limits.items() if value is not None]


def _unknown(contract: DeliveryContract) -> str:
    if contract.on_unknown == "hold":
        return "held for a person (`on_unknown: hold`)"
    key = (
        f"records carry `{contract.dedupe_key}` to tell a repeat by" if contract.dedupe_key else "no key tells a repeat"
    )
    window = (
        "" if contract.dedupe_window_secs is None else f", for {contract.dedupe_window_secs:,.0f} s; later it is held"
    )
    return f"sent again and listed (`on_unknown: resend`); {key}{window}"
