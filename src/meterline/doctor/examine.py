"""
From a file to its report: whose config it is, told from its name and content, and what its agent's check finds.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from meterline.doctor.agents import alloy, collector, fluent_bit, logstash, prometheus, vector
from meterline.doctor.block_tree import alloy_tree, fluent_bit_tree, is_fluent_bit, logstash_tree
from meterline.doctor.findings import Finding, Report
from meterline.doctor.tree import Node
from meterline.doctor.yaml_tree import toml_tree, yaml_tree
from meterline.errors import ConfigurationError

MAX_BYTES: Final = 2 * 1024 * 1024
"""A larger file is no config that a person wrote."""

_LOGSTASH: Final = re.compile(r"^\s*(?:input|filter|output)\s*\{", re.MULTILINE)
_ALLOY: Final = re.compile(r"^\w+(?:\.\w+)+(?: \"[^\"]*\")? \{", re.MULTILINE)
_FLUENTD: Final = re.compile(r"^\s*<(?:source|match)\b", re.MULTILINE)
_SAID: Final = re.compile(r"^\s*[^\s#]", re.MULTILINE)

Check = Callable[[Node], Iterable[Finding]]

_YAML: tuple[tuple[str, Callable[[Node], bool], Check], ...] = (
    (vector.NAME, vector.recognises, vector.findings),
    (fluent_bit.NAME, fluent_bit.recognises, fluent_bit.findings),
    (prometheus.AGENT_NAME, prometheus.recognises_agent, prometheus.agent_findings),
    (collector.NAME, collector.recognises, collector.findings),
    (prometheus.PROMTAIL_NAME, prometheus.recognises_promtail, prometheus.promtail_findings),
    (prometheus.NAME, prometheus.recognises, prometheus.findings),
    (logstash.SETTINGS_NAME, logstash.recognises_settings, logstash.settings_findings),
)


def examine(path: Path) -> Report:
    """
    Read an agent's config and return what was found.

    :raises ConfigurationError: it cannot be read, or is no config of an agent that is known.
    """
    text = _text(path)
    try:
        agent, root, check = _recognise(path, text)
        found = sorted(check(root), key=lambda finding: finding.line)
    except ConfigurationError as error:
        raise ConfigurationError(f"reading '{path}': {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"reading '{path}': it is nested too deep") from error
    return Report(agent, tuple(found))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"opening '{path}': {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"reading '{path}': byte {error.start} is not UTF-8") from error
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"reading '{path}': it has more than {MAX_BYTES:,} bytes, and is no agent's config")
    return text


def _recognise(path: Path, text: str) -> tuple[str, Node, Check]:
    suffix = path.suffix.lower()
    if suffix in {".alloy", ".river"} or _ALLOY.search(text):
        return alloy.NAME, alloy_tree(text), alloy.findings
    if suffix == ".toml":
        return vector.NAME, toml_tree(text), vector.findings
    if suffix not in {".yaml", ".yml", ".json"} and is_fluent_bit(text):
        return fluent_bit.NAME, fluent_bit_tree(text), fluent_bit.classic_findings
    if _FLUENTD.search(text):
        raise ConfigurationError("it is Fluentd's; `meterline doctor senders` says what to set there")
    if suffix == ".conf" or _LOGSTASH.search(text):
        return logstash.NAME, logstash_tree(text), logstash.findings
    return _recognise_yaml(path, text)


def _recognise_yaml(path: Path, text: str) -> tuple[str, Node, Check]:
    if path.name == "logstash.yml" and not _SAID.search(text):  # as it is installed: everything is a comment
        return logstash.SETTINGS_NAME, Node(1), logstash.settings_findings
    root = yaml_tree(text)
    for agent, recognises, check in _YAML:
        if recognises(root):
            return agent, root, check
    if {"ledger", "receivers"} <= set(root.entries):
        raise ConfigurationError("it is Meterline's own config; `meterline validate` looks at that")
    raise ConfigurationError(
        "it is no config of a Collector, Vector, Logstash, Fluent Bit, Prometheus, Promtail, Grafana Agent or Alloy"
    )
