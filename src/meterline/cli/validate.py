"""
``meterline validate``: everything that is wrong with a config, and what it promises.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import structlog

from meterline.api import DeliveryContract, ExporterConfig, ExporterContext, SystemClock
from meterline.cli import EXIT_CONFIG, EXIT_FINDINGS, findings_text
from meterline.cli.configs import CONFIG, read_config
from meterline.cli.output import json_line
from meterline.config import Config, ConfigurationErrors, Diagnostic, lint
from meterline.config.listeners import listeners
from meterline.plugins import load_exporter
from meterline.serving.config import GrpcListenerConfig

_BOUNDS = ("max_in_flight_bytes", "max_connections", "max_concurrent_streams", "max_request_bytes")


@click.command(name="validate")
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(config: Path, *, as_json: bool) -> None:
    """
    Check CONFIG without starting anything, and print what it promises.

    Shows every error at once, with its place and what was probably meant (exit code 78), then what may not be meant
    so (exit code 1); nothing found is exit code 0.
    """
    loaded, found = check(config)
    promises = {} if loaded is None else promised(loaded)
    if as_json:
        json_line({"ok": not found, "diagnostics": [diagnostic.to_dict() for diagnostic in found], **promises})
    else:
        _print(config, found, promises)
    raise SystemExit(EXIT_CONFIG if loaded is None else EXIT_FINDINGS if found else 0)


def check(path: Path) -> tuple[Config | None, list[Diagnostic]]:
    """
    Load and lint. The config is None when it has errors.
    """
    try:
        config = read_config(path)
    except ConfigurationErrors as errors:
        return None, list(errors.diagnostics)
    return config, list(lint(config))


def promised(config: Config) -> Mapping[str, Any]:
    """
    Return what each exporter's delivery contract says and what bounds each receiver's memory, as JSON-able data.
    """
    return {
        "exporters": {name: _contract(name, options) for name, options in config.exporters.items()},
        "receivers": {
            ".".join(map(str, way)): {bound: getattr(listener, bound) for bound in _BOUNDS}
            for name, options in config.receivers.items()
            for way, listener in listeners((name,), options)
            if isinstance(listener, GrpcListenerConfig)
        },
    }


def _contract(name: str, options: ExporterConfig) -> Mapping[str, Any]:
    context = ExporterContext("", SystemClock(), structlog.get_logger("meterline"))
    contract: DeliveryContract = load_exporter(options.type)(name, options, context).contract
    written = {} if options.on_unknown is None else {"on_unknown": options.on_unknown}
    return {"type": options.type, **asdict(contract), **written}


def _print(path: Path, found: Sequence[Diagnostic], promises: Mapping[str, Any]) -> None:
    for diagnostic in found:
        click.echo(findings_text(f"{diagnostic}\n"), err=True)
    for name, bounds in promises.get("receivers", {}).items():
        click.echo(f"receivers.{name}: {memory_words(bounds)}")
    for name, contract in promises.get("exporters", {}).items():
        click.echo(f"exporters.{name}: {contract_words(contract)}")
    errors = sum(diagnostic.severity == "error" for diagnostic in found)
    counts = [f"{errors} error{'s' * (errors != 1)}"] if errors else []
    warnings = len(found) - errors
    counts += [f"{warnings} warning{'s' * (warnings != 1)}"] if warnings else []
    click.echo(f"{path}: {', '.join(counts) or 'ok'}")


def memory_words(bounds: Mapping[str, int]) -> str:
    """
    Say how much memory senders can take: what is handled, and what gRPC may hold before it is admitted.
    """
    buffered = bounds["max_connections"] * bounds["max_concurrent_streams"] * bounds["max_request_bytes"]
    return (
        f"handles at most {_size(bounds['max_in_flight_bytes'])} of requests at once; before they are admitted, at most"
        f" {_size(buffered)} ({bounds['max_connections']} connections x {bounds['max_concurrent_streams']} requests"
        f" x {_size(bounds['max_request_bytes'])})"
    )


def _size(amount: int) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if amount >= size:
            return f"{amount / size:.4g} {unit}"
    return f"{amount} B"


def contract_words(contract: Mapping[str, Any]) -> str:
    """
    Say in one line what this exporter's backend promises.
    """
    words = [f"{contract['type']}, value as {contract['value_type']}"]
    if contract["never_unknown"]:
        words.append("never in doubt: cuts back to what was confirmed, nothing is repeated")
    else:
        again = "sent again and listed as possibly repeated"
        words.append(
            f"a send without an answer is {again if contract['on_unknown'] == 'resend' else 'held for a person'}"
        )
    if contract["dedupe_key"]:
        window = contract["dedupe_window_secs"]
        words.append(f"dedupes on {contract['dedupe_key']} {'for ever' if window is None else f'for {window:g} s'}")
    limits = {"max_records": "records", "max_bytes": "bytes"}
    words += [f"at most {contract[key]} {unit} a send" for key, unit in limits.items() if contract[key] is not None]
    ages = {"oldest_secs": "older than", "newest_secs": "further ahead than"}
    words += [f"refuses what is {text} {contract[key]:g} s" for key, text in ages.items() if contract[key] is not None]
    words += ["says what became of each record"] if contract["per_record_results"] else []
    words += ["may reject later"] if contract["rejects_later"] else []
    return "; ".join(words)
