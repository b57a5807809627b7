"""
Warnings about a config that can be used.
"""

from collections.abc import Iterator
from typing import Final

from meterline.config.diagnostics import Diagnostic
from meterline.config.listeners import listeners
from meterline.config.loaded import Config
from meterline.config.validation import Fault
from meterline.rules.lint import lint_rules
from meterline.rules.text import canonical_text
from meterline.serving.exposure import Exposure, exposure, plain_words

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
    faults += _plain_text(config)
    found = [config.pointer.diagnostic(fault, severity="warning") for fault in faults]
    return sorted(found, key=lambda each: (each.line, each.column, each.code))


def _sections(config: Config) -> Iterator[Fault]:
    if not config.receivers:
        yield Fault(
            (), "ML110", "there is no receiver: nothing can come in", "", "write `receivers: {otlp: {grpc: {}}}`"
        )
    if not config.rules and {receiver.type for receiver in config.receivers.values()} != {"usage"}:
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


def _plain_text(config: Config) -> Iterator[Fault]:
    for name, receiver in config.receivers.items():
        for way, listener in listeners(("receivers", name), receiver):
            if exposure(listener, config.auth) is Exposure.PLAIN:
                words, remedy = plain_words(listener.endpoint)
                yield Fault((*way, "endpoint"), "ML108", words, "", remedy)
