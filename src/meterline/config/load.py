"""
From a file to a typed config: YAML, substitution, models, plugins, rules; every error of it at once.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from meterline.api.exporter import Exporter
from meterline.api.receiver import Receiver
from meterline.config.diagnostics import ConfigurationErrors, Diagnostic
from meterline.config.listeners import listeners
from meterline.config.loaded import Config
from meterline.config.model import CoreConfig
from meterline.config.pointer import Pointer
from meterline.config.redact import Redactor, guess
from meterline.config.schema_walk import SchemaWalk, Way, schema_of
from meterline.config.source import Item, SourceFile, Span, compose
from meterline.config.substitute import Substitution
from meterline.config.validation import Fault, Validation, said
from meterline.plugins import BrokenPluginError, Kind, UnknownPluginError, load
from meterline.rules import Problem, RuleConfig, RuleSet, RuleSetError
from meterline.serving.exposure import FAULTS, exposure, fault_words

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OPEN: Final = frozenset({"rules", "ledger", "state", "dedupe", "time", "forget"})
"""Sections without secrets: a value at an unknown key may be shown."""

_KINDS: Final[Mapping[str, Kind]] = {"receivers": "receiver", "exporters": "exporter"}


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """
    Read a config. Raises ConfigurationErrors with everything that is wrong with it.
    """
    return _Loader(Path(path), environ).load()


@dataclass(slots=True)
class _Sections:
    """
    What could be read so far. ``schemas``: the model behind each way that has its own, for redaction.
    """

    core: CoreConfig | None = None
    rules: dict[int, RuleConfig] = field(default_factory=dict)
    plugins: dict[str, dict[str, Any]] = field(default_factory=lambda: {"receivers": {}, "exporters": {}})
    schemas: dict[Way, SchemaWalk] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


class _Loader:
    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._name = str(path)
        self._path = path.absolute()
        self._environ = environ
        self._reported: list[tuple[Span, Fault]] = []

    def load(self) -> Config:
        text = self._read()
        file = SourceFile.of(self._path, text)
        root = compose(text, self._report)
        if root is None or root.kind != "mapping":
            raise self._no_tree(file, root)
        Substitution(self._environ, self._path.parent, self._report).apply(root)
        sections = self._validate(root)
        redactor = Redactor(file)
        redactor.learn(root, lambda way: _is_secret(sections, way))
        pointer = Pointer(self._name, file, root, redactor)
        rule_set, problems = self._compile(sections)
        found = [pointer.at(span, fault) for span, fault in self._reported]
        faults = (*sections.faults, *problems, *_open_listeners(sections))
        found += [pointer.diagnostic(fault) for fault in faults if not _unknown(root, fault.way)]
        if found or rule_set is None or sections.core is None:
            raise ConfigurationErrors(found)
        return self._config(sections, sections.core, rule_set, pointer, redactor)

    def _config(
        self, sections: _Sections, core: CoreConfig, rule_set: RuleSet, pointer: Pointer, redactor: Redactor
    ) -> Config:
        return Config(
            path=self._path,
            ledger=core.ledger,
            receivers=sections.plugins["receivers"],
            auth=core.auth,
            rules=tuple(sections.rules.values()),
            exporters=sections.plugins["exporters"],
            telemetry=core.telemetry,
            state=core.state,
            dedupe=core.dedupe,
            time=core.time,
            forget=core.forget,
            shutdown_timeout_secs=core.shutdown_timeout_secs,
            rule_set=rule_set,
            source_text=redactor.source(),
            pointer=pointer,
        )

    def _report(self, span: Span, code: str, message: str, remedy: str) -> None:
        self._reported.append((span, Fault((), code, message, "", remedy)))

    def _read(self) -> str:
        try:
            return self._path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            remedy = "`meterline init` writes a first config" if isinstance(error, FileNotFoundError) else ""
            found = Diagnostic("ML001", f"opening config '{self._name}': {words}", self._name, help=remedy)
        except UnicodeDecodeError as error:
            message = f"reading config '{self._name}': byte {error.start} is not UTF-8"
            found = Diagnostic("ML001", message, self._name, help="store the file as UTF-8")
        raise ConfigurationErrors([found])

    def _no_tree(self, file: SourceFile, root: Item | None) -> ConfigurationErrors:
        if not self._reported:
            what = "it is empty" if root is None else "it is not a mapping of sections"
            span = Span(0, 0, 1) if root is None else root.span
            self._report(span, "ML006", f"reading config: {what}", "`meterline init` writes a first config")
        guessed = SourceFile(file.path, file.text, guess(file.lines))
        pointer = Pointer(self._name, guessed, root, Redactor(guessed))
        return ConfigurationErrors([pointer.at(span, fault) for span, fault in self._reported])

    def _validate(self, root: Item) -> _Sections:
        sections = _Sections(schemas={(): schema_of(CoreConfig)})
        apart: dict[str, Any] = {key: {} for key in _KINDS if _kind(root, key) == "mapping"}
        apart |= {"rules": []} if _kind(root, "rules") == "list" else {}
        sections.core, faults = Validation(root, (), apart).run(CoreConfig, self._path.parent)
        sections.faults += faults
        for key in _KINDS:
            for name, item in root.entries[key].entries.items() if key in apart else ():
                self._plugin(sections, key, name, item)
        for position, item in enumerate(root.entries["rules"].items if "rules" in apart else ()):
            rule, faults = Validation(item, ("rules", position)).run(RuleConfig, self._path.parent)
            sections.faults += faults
            sections.rules |= {} if rule is None else {position: rule}
        return sections

    def _plugin(self, sections: _Sections, section: str, name: str, item: Item) -> None:
        way: Way = (section, name)
        if not _NAME.fullmatch(name):
            remedy = "names have letters, digits, `_`, `.` and `-`, 64 at most"
            sections.faults.append(Fault(way, "ML025", f"`{name}` cannot be a name", "", remedy, at_key=True))
        found = _plugin_type(way, item)
        plugin = _loaded(way, found, written="type" in item.entries) if isinstance(found, str) else found
        if plugin is None or isinstance(plugin, Fault):
            sections.faults += [plugin] if plugin is not None else []
            return
        sections.schemas[way] = schema_of(plugin.Config)
        config, faults = Validation(item, way, {"type": found}).run(plugin.Config, self._path.parent)
        sections.faults += faults
        sections.plugins[section] |= {} if config is None else {name: config}

    def _compile(self, sections: _Sections) -> tuple[RuleSet | None, list[Fault]]:
        positions = tuple(sections.rules)
        try:
            rule_set = RuleSet.compile(tuple(sections.rules.values()), self._path.parent)
        except RuleSetError as error:
            return None, [_fault(problem, positions) for problem in error.problems]
        return rule_set, []


def _open_listeners(sections: _Sections) -> Iterator[Fault]:
    """
    Yield a fault for each listener that would let everybody in. While ``auth`` itself cannot be read, none is judged.
    """
    if sections.core is None:
        return
    for name, receiver in sections.plugins["receivers"].items():
        for way, listener in listeners(("receivers", name), receiver):
            found = exposure(listener, sections.core.auth)
            if found in FAULTS:
                words, remedy = fault_words(found, listener.endpoint)
                yield Fault((*way, "endpoint"), "ML032", words, "", remedy)


def _plugin_type(way: Way, item: Item) -> str | Fault | None:
    """
    Return the name of the plugin of a section, what is wrong with it, or None where a substitution failed already.
    """
    written = item.entries.get("type")
    if written is None:
        return str(way[1])
    if written.kind == "scalar" and isinstance(written.data, str):
        return written.text
    at = (*way, "type")
    return None if written.kind == "unknown" else Fault(at, "ML022", said(at, written), "expected a plugin's name")


def _loaded(way: Way, name: str, *, written: bool) -> type[Receiver[Any]] | type[Exporter[Any]] | Fault:
    kind = _KINDS[str(way[0])]
    try:
        return load(kind, name)
    except UnknownPluginError as error:
        at = (*way, "type") if written else way
        return Fault(at, "ML030", f"unknown {kind} plugin `{name}`", "", error.help, at_key=not written)
    except BrokenPluginError as error:
        return Fault(way, "ML031", str(error), at_key=True)


def _fault(problem: Problem, positions: tuple[int, ...]) -> Fault:
    position, *rest = problem.where
    assert isinstance(position, int)  # noqa: S101 - a rule set's problems begin with a position
    return Fault(
        way=("rules", positions[position], *rest),
        code=problem.code,
        message=problem.message,
        label=problem.label,
        help=problem.help,
        offset=problem.offset,
        length=problem.length,
    )


def _kind(root: Item, key: str) -> str | None:
    item = root.entries.get(key)
    return None if item is None else item.kind


def _unknown(root: Item, way: Way) -> bool:
    """
    Say whether the value stands where a substitution failed, so that nothing more can be said of it.
    """
    item: Item | None = root
    for step in way:
        if item is None:
            return False
        item = item.entries.get(step) if isinstance(step, str) else _nth(item, step)
    return item is not None and item.kind == "unknown"


def _nth(item: Item, position: int) -> Item | None:
    return item.items[position] if position < len(item.items) else None


def _is_secret(sections: _Sections, way: Way) -> bool:
    """
    Say whether a value is a secret, or stands at a key of a plugin that its model does not know.
    """
    depth = max(size for size in range(len(way) + 1) if way[:size] in sections.schemas)
    schema, inner = sections.schemas[way[:depth]], way[depth:]
    if not inner:
        return False
    if way[0] in _KINDS and depth == 0:
        return len(way) > 2 and way[2] != "type"  # a plugin that could not be loaded: anything may be secret
    return schema.is_secret(inner) or (way[0] not in _OPEN and not schema.at(inner))
