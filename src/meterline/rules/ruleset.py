"""
A rule set: compiled once, hashed by its normalised source, and bound to a generation to answer what a kernel asks.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path as FilePath
from typing import Any

from meterline.generations import Generation, RuleKey
from meterline.records import MANUAL
from meterline.rules.bound import BoundRules
from meterline.rules.compile import RuleCompiler
from meterline.rules.compiled import CompiledRule
from meterline.rules.lookup import file_problem, read_table, table_path
from meterline.rules.model import LookupConfig, RuleConfig, lookup_files
from meterline.rules.problems import Problem, RuleSetError

ReadFile = Callable[[FilePath], bytes]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """
    Rules that can be used. ``text`` is their normalised source as canonical JSON, ``hash`` its BLAKE2b-128 in hex: comments,
    key order, file names' base directory and written-out defaults change neither; a lookup table's content does.
    """

    rules: tuple[CompiledRule, ...]
    text: str
    hash: str
    _keys: tuple[RuleKey, ...]
    warnings: tuple[Problem, ...] = ()

    @staticmethod
    def compile(
        rules: Sequence[RuleConfig], base_dir: FilePath, *, read_file: ReadFile = FilePath.read_bytes
    ) -> "RuleSet":
        """
        Compile all rules. Raises RuleSetError with every problem of every rule; ``where`` begins with the rule's position.
        """
        tables = _Tables(base_dir, read_file)
        problems = _repeated_names(rules) + _reserved_names(rules)
        compiled: list[CompiledRule] = []
        for position, rule in enumerate(rules):
            compiler = RuleCompiler(rule, tables.read)
            found = compiler.compile()
            problems += [problem.under(position) for problem in compiler.problems]
            compiled += [found] if found is not None else []
        if any(not problem.warning for problem in problems):
            raise RuleSetError([problem for problem in problems if not problem.warning])
        text = _canonical([_normalised(rule, base_dir, tables.digests) for rule in rules])
        keys = tuple(RuleKey(rule.name, _digest(_canonical(_match_of(rule)))) for rule in rules)
        return RuleSet(tuple(compiled), text, _digest(text), keys, tuple(problems))

    def keys(self) -> tuple[RuleKey, ...]:
        """
        Return each rule's name with a hash of its ``match`` and ``when`` (and ``parse_body``, where these read a body).
        """
        return self._keys

    def bind(self, generation: Generation) -> BoundRules:
        """
        Return what answers a kernel under this generation.
        """
        return BoundRules(self.rules, generation)


class _Tables:
    """
    Lookup tables, each file read once for all rules.
    """

    def __init__(self, base_dir: FilePath, read_file: ReadFile) -> None:
        self._base_dir = base_dir
        self._read_file = read_file
        self._contents: dict[FilePath, bytes] = {}
        self.digests: dict[FilePath, str] = {}

    def read(self, lookup: LookupConfig) -> Mapping[str, str]:
        path = table_path(self._base_dir, lookup)
        try:
            content = self._contents.get(path) or self._read_file(path)
        except OSError as error:
            raise file_problem(lookup, error) from error
        self._contents[path] = content
        self.digests[path] = blake2b(content, digest_size=16).hexdigest()
        return read_table(lookup, content)


def _repeated_names(rules: Sequence[RuleConfig]) -> list[Problem]:
    seen: set[str] = set()
    found: list[Problem] = []
    for position, rule in enumerate(rules):
        if rule.name in seen:
            remedy = "give each rule its own name: it is part of every record id"
            found.append(
                Problem((position, "name"), "ML040", f"rule name `{rule.name}` is used twice", "again here", remedy)
            )
        seen.add(rule.name)
    return found


def _reserved_names(rules: Sequence[RuleConfig]) -> list[Problem]:
    words = f"rule name `{MANUAL}` is reserved: it stands in the records of the usage API, which no rule made"
    places = [position for position, rule in enumerate(rules) if rule.name == MANUAL]
    return [
        Problem((position, "name"), "ML040", words, "no rule's", "give the rule another name") for position in places
    ]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _dumped(rule: RuleConfig) -> dict[str, Any]:
    dumped: dict[str, Any] = rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return dumped


def _normalised(rule: RuleConfig, base_dir: FilePath, digests: Mapping[FilePath, str]) -> dict[str, Any]:
    paths = {str(path): base_dir / path for path in lookup_files(rule)}
    tables = {_relative(path, base_dir): digests[path] for path in paths.values()}
    dumped = _with_files(_dumped(rule), {written: _relative(path, base_dir) for written, path in paths.items()})
    return {**dumped, "tables": tables} if tables else dumped


def _relative(path: FilePath, base_dir: FilePath) -> str:
    return path.relative_to(base_dir).as_posix() if path.is_relative_to(base_dir) else path.as_posix()


def _with_files(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        if "file" in value and value["file"] in names and "key" in value:
            return {**value, "file": names[value["file"]]}
        return {key: _with_files(item, names) for key, item in value.items()}
    return [_with_files(item, names) for item in value] if isinstance(value, list) else value


def _match_of(rule: RuleConfig) -> dict[str, Any]:
    dumped = _dumped(rule)
    reads_body = "body" in dumped["match"] or "when" in dumped
    keys = ("match", "when", "parse_body") if reads_body else ("match",)
    return {key: dumped[key] for key in keys if key in dumped}
