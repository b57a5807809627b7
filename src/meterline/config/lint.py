"""
Warnings about a config that can be used.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from meterline.config.diagnostics import Diagnostic
from meterline.config.loaded import Config
from meterline.config.schema_walk import Way
from meterline.config.validation import Fault
from meterline.rules.lint import lint_rules
from meterline.rules.text import canonical_text

_LOOPBACK: Final = ("127.", "[::1]", "localhost", "unix:")
_BOUNDS: Final = frozenset({"gte", "gt", "lte", "lt"})


def lint(config: Config) -> list[Diagnostic]:
    """
    Return warnings, in the order of the file.
    """
    faults = [
        Fault(("rules", *problem.where), problem.code, problem.message, problem.label, problem.help)
        for problem in lint_rules(config.rules)
    ]
    faults += _sections(config)
    faults += _numbers(config)
    for name, receiver in config.receivers.items():
        faults += _exposed(("receivers", name), receiver)
    found = [config.pointer.diagnostic(fault, severity="warning") for fault in faults]
    return sorted(found, key=lambda each: (each.line, each.column, each.code))


def _sections(config: Config) -> Iterator[Fault]:
    if not config.receivers:
        yield Fault(
            (), "ML110", "there is no receiver: nothing can come in", "", "write `receivers: {otlp: {grpc: {}}}`"
        )
    if not config.rules:
        yield Fault((), "ML110", "there is no rule: every point will be unmatched", "", "write at least one rule")
    for name in config.forget:
        if name in config.exporters:
            words = f"`forget` names the exporter `{name}`, which is configured"
            yield Fault(("forget", config.forget.index(name)), "ML111", words, "", "delete one of the two")


def _numbers(config: Config) -> Iterator[Fault]:
    """
    Warn of a number in a match whose text is not what was written: 1.10 is the number 1.1, and 007 is 7.
    """
    for way, item in config.pointer.items():
        if way[:1] != ("rules",) or way[2:3] != ("match",) or not item.plain or isinstance(item.data, str | bool):
            continue
        text = canonical_text(item.data)
        if text is not None and text != item.text and way[-1] not in _BOUNDS:
            words = f"`{item.text}` is the number {text}"
            yield Fault(way, "ML107", words, "", f'quote it to mean the text: "{item.text}"')


def _models(way: Way, model: BaseModel) -> Iterator[tuple[Way, BaseModel]]:
    """
    Yield a model and all models inside it, with their ways.
    """
    yield way, model
    for key, value in model:
        if isinstance(value, BaseModel):
            yield from _models((*way, key), value)


def _exposed(way: Way, receiver: BaseModel) -> Iterator[Fault]:
    for at, section in _models(way, receiver):
        values: Mapping[str, Any] = dict(iter(section))  # a field may be called `keys`
        endpoint = values.get("endpoint")
        if "auth" not in values or not isinstance(endpoint, str) or endpoint.startswith(_LOOPBACK):
            continue
        tls = values.get("tls")
        if values["auth"] is None and getattr(tls, "client_ca_file", None) is None:
            words = f"everybody who reaches {endpoint} may write usage for any customer"
            yield Fault((*at, "endpoint"), "ML108", words, "", "write `auth: {keys: [...]}`, or bind to 127.0.0.1")
        elif tls is None:
            words = f"the tokens of {endpoint} travel in plain text"
            yield Fault((*at, "endpoint"), "ML108", words, "", "write `tls: {cert_file: ..., key_file: ...}`")
