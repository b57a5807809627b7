"""
Lookup tables: what stands in a CSV or YAML file beside the config, as it is written there.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from meterline.rules.model import LookupConfig
from meterline.rules.problems import Problem, ProblemError
from meterline.rules.suggest import did_you_mean

YAML_SUFFIXES = (".yaml", ".yml", ".json")


def read_table(lookup: LookupConfig, content: bytes) -> Mapping[str, str]:
    """
    Return the table of a file's content. Raises ProblemError, with ``where`` relative to the lookup.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _problem(lookup, f"byte {error.start} is not UTF-8", "store the file as UTF-8") from error
    if lookup.file.suffix in YAML_SUFFIXES:
        return _table(lookup, _yaml_rows(lookup, text))
    if lookup.file.suffix == ".csv":
        return _table(lookup, _csv_rows(lookup, text))
    raise _problem(lookup, f"unknown kind of file `{lookup.file.suffix}`", "use .csv, .yaml, .yml or .json")


def _problem(lookup: LookupConfig, words: str, remedy: str = "", key: str = "file") -> ProblemError:
    return ProblemError(Problem((key,), "ML046", f"reading lookup table '{lookup.file.name}': {words}", help=remedy))


def _table(lookup: LookupConfig, rows: Iterable[tuple[int, str, str]]) -> Mapping[str, str]:
    table: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, key, value in rows:
        if not key:
            raise _problem(lookup, f"line {line} has no key", "give it one, or delete the line")
        if table.setdefault(key, value) != value:
            words = f"line {line} says '{value}' for key '{key}', line {lines[key]} says '{table[key]}'"
            raise _problem(lookup, words, "leave one of the two lines")
        lines.setdefault(key, line)
    return table


def _csv_rows(lookup: LookupConfig, text: str) -> Iterable[tuple[int, str, str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        key_at, value_at = _columns(lookup, header)
        for row in reader:
            if row and len(row) != len(header):
                words = f"line {reader.line_num} has {len(row)} columns, the header has {len(header)}"
                raise _problem(lookup, words, "quote texts that have commas")
            if row:
                yield reader.line_num, row[key_at], row[value_at]
    except csv.Error as error:
        raise _problem(lookup, f"line {reader.line_num}: {error}") from error


def _columns(lookup: LookupConfig, header: list[str]) -> tuple[int, int]:
    if len(header) < 2:
        raise _problem(lookup, "the first line must name at least two columns", "write a header such as `key,customer`")
    return _column(lookup, header, "key_column", 0), _column(lookup, header, "value_column", 1)


def _column(lookup: LookupConfig, header: list[str], option: str, default: int) -> int:
    name = getattr(lookup, option)
    if name is None:
        return default
    if name not in header:
        raise _problem(lookup, f"it has no column `{name}`", did_you_mean(name, header), option)
    return header.index(name)


def _yaml_rows(lookup: LookupConfig, text: str) -> Iterable[tuple[int, str, str]]:
    if lookup.key_column is not None:
        raise _problem(lookup, "a mapping has its keys; `key_column` is for CSV files", "delete it", "key_column")
    try:
        root = YAML(typ="rt").compose(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _problem(lookup, f"line {line}: {error.problem}") from error
    except YAMLError as error:
        raise _problem(lookup, str(error).splitlines()[0]) from error
    if not isinstance(root, MappingNode):
        raise _problem(lookup, "it is not a mapping of keys to values", "write one `key: value` a line")
    for key, value in root.value:
        line = key.start_mark.line + 1
        yield line, _as_written(lookup, line, key), _as_written(lookup, line, _field(lookup, line, value))


def _field(lookup: LookupConfig, line: int, entry: Node) -> Node:
    if lookup.value_column is None:
        return entry
    fields = {key.value: value for key, value in entry.value} if isinstance(entry, MappingNode) else {}
    if lookup.value_column not in fields:
        words = f"line {line} has no field `{lookup.value_column}`"
        raise _problem(lookup, words, did_you_mean(lookup.value_column, map(str, fields)), "value_column")
    found: Node = fields[lookup.value_column]
    return found


def _as_written(lookup: LookupConfig, line: int, node: Node) -> str:
    """
    Return a scalar's text as it stands in the file: 0042 stays 0042, 1.10 stays 1.10.
    """
    if not isinstance(node, ScalarNode):
        remedy = "" if lookup.value_column else "say with `value_column` which field is meant"
        raise _problem(lookup, f"line {line} has no text or number", remedy)
    return str(node.value)


def file_problem(lookup: LookupConfig, error: OSError) -> ProblemError:
    """
    Return the problem of a file that cannot be opened.
    """
    words = (error.strerror or str(error)).lower()
    return _problem(lookup, words, f"looked for {lookup.file}; paths are relative to the config file")


def table_path(base_dir: Path, lookup: LookupConfig) -> Path:
    """
    Return where the file is: relative paths are relative to the config.
    """
    return base_dir / lookup.file
