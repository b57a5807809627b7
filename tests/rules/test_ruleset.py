"""
The hash of a rule set, the keys of its rules, and every mistake that compiling finds, with its place.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meterline.rules import RuleConfig, RuleSet, RuleSetError

Make = Callable[..., Any]

RULE = {"name": "a", "match": {"metric": "m"}, "customer": "c", "dimension": "d"}
LOG = {"match": {"log": True}, "identity": "content"}


def rule_set(*rules: dict[str, Any], base_dir: Path = Path("/nowhere")) -> RuleSet:
    """
    Compile rules as they are written.
    """
    return RuleSet.compile([RuleConfig.model_validate({**RULE, **rule}) for rule in rules], base_dir)


def test_the_hash_is_documented_and_fixed() -> None:
    """BLAKE2b-128 over canonical JSON of the normalised rules: these bytes are for ever."""
    rules = rule_set({"scale": "0.5"})

    assert rules.text == '[{"customer":"c","dimension":"d","match":{"metric":"m"},"name":"a","scale":"0.5"}]'
    assert rules.hash == "31e6c6019c4d16887406d0d7f4fe028e"


def test_the_hash_is_of_what_is_meant() -> None:
    """Written-out defaults change nothing; every other difference does, and so does the order of the rules."""
    same = rule_set({}).hash
    assert rule_set({"multi": False, "scale": 1, "metadata": {}}).hash == same

    others = [{"customer": "x"}, {"when": "true"}, {"metadata": {"a": "b"}}, {"match": {"metric": "n"}}, {"unit": ""}]
    assert len({same, *(rule_set(other).hash for other in others)}) == len(others) + 1
    assert rule_set({}, {"name": "b"}).hash != rule_set({"name": "b"}, {}).hash


def test_the_hash_follows_a_tables_content_and_not_its_folder(tmp_path: Path) -> None:
    """A changed lookup table is another rule set; the same files in another folder are the same."""
    hashes = []
    for folder, content in (("one", "k,v\n1,a\n"), ("two", "k,v\n1,a\n"), ("three", "k,v\n1,b\n")):
        base = tmp_path / folder
        base.mkdir()
        (base / "t.csv").write_text(content)
        lookup = {"lookup": {"file": base / "t.csv", "key": "attributes.k"}}
        hashes.append(rule_set({"customer": [lookup, "x"]}, base_dir=base).hash)

    assert hashes[0] == hashes[1] != hashes[2]


def test_a_key_is_the_name_with_a_hash_of_match_and_when_alone() -> None:
    """What a rule makes of its points may change without a new activation; what it matches may not."""
    (before,) = rule_set({}).keys()
    (same,) = rule_set({"customer": "other", "scale": 2, "metadata": {"a": "b"}, "multi": True}).keys()
    (match,) = rule_set({"match": {"metric": "m", "unit": "x"}}).keys()
    (when,) = rule_set({"when": "true"}).keys()

    assert before == same
    assert before.name == "a"
    assert len({before.match_hash, match.match_hash, when.match_hash}) == 3


def test_parse_body_is_part_of_the_match_where_it_reads_a_body() -> None:
    """Reading a text as JSON changes what matches, only if a body is matched."""

    def key(**rule: Any) -> str:
        return rule_set({**LOG, **rule}).keys()[0].match_hash

    assert key() == key(parse_body="json")
    body = {"log": True, "body": {"a": "x"}}
    assert key(match=body) != key(match=body, parse_body="json")


def test_every_problem_of_every_rule_is_found_at_once(problems: Make) -> None:
    """Nothing stops at the first mistake."""
    found = problems(
        {"customer": "attributes[x]", "dimension": "${attributes.y", "when": "1 +", "scale": 0},
        {"match": {"metric": {"regex": "("}}, "metadata": {"m": "resource['a"}},
        {"match": {"log": True}},
    )

    assert [(problem.where, problem.code) for problem in found] == [
        ((0, "customer"), "ML041"),
        ((0, "dimension"), "ML042"),
        ((0, "when"), "ML044"),
        ((0, "scale"), "ML050"),
        ((1, "match", "metric", "regex"), "ML043"),
        ((1, "metadata", "m"), "ML041"),
        ((2,), "ML048"),
    ]


@pytest.mark.parametrize(
    ("rule", "where", "words"),
    [
        ({"match": {}}, ("match",), "neither a metric nor logs"),
        ({"match": {"attributes": {"a": 1}}}, ("match",), "neither a metric nor logs"),
        ({**LOG, "match": {"log": True, "metric": "x"}}, ("match", "log"), "not both"),
        ({"match": {"metric": "x", "severity": "y"}}, ("match", "severity"), "metric points have no severity"),
        ({"match": {"metric": "x", "body": {"a": 1}}}, ("match", "body"), "metric points have no body"),
        ({"match": {"metric": "x", "event_name": "y"}}, ("match", "event_name"), "metric points have no event name"),
        ({**LOG, "match": {"log": True, "unit": "y"}}, ("match", "unit"), "logs have no unit"),
        ({**LOG, "match": {"log": True, "type": "sum"}}, ("match", "type"), "logs have no type"),
        ({"match": {"metric": "x", "type": "counter"}}, ("match", "type"), "no metric type `counter`"),
        ({"match": {"metric": "x", "type": ["sum", "histo"]}}, ("match", "type", 1), "no metric type `histo`"),
        ({"match": {"metric": "x", "attributes": {"a": {}}}}, ("match", "attributes", "a"), "it is empty"),
        (
            {"match": {"metric": "x", "attributes": {"a": {"exists": False, "glob": "x"}}}},
            ("match", "attributes", "a", "exists"),
            "can never both hold",
        ),
        ({**LOG, "match": {"log": True, "body": {"a b": 1}}}, ("match", "body", "a b"), "reading body field"),
        ({**LOG, "unit": "1"}, ("unit",), "logs have no unit"),
        ({"parse_body": "json"}, ("parse_body",), "metric points have no body"),
        ({"identity": "content"}, ("identity",), "it is for log rules"),
        ({**LOG, "identity": "event.id"}, ("identity",), "reading identity `event.id`"),
        ({**LOG, "identity": "resource.x"}, ("identity",), "the same for many log records"),
        ({**LOG, "identity": "${attributes.a}"}, ("identity",), "reading identity"),
        ({**LOG, "value": "delta"}, ("value",), "reading value `delta`"),
        ({**LOG, "value": 0}, ("value",), "must not be 0"),
        ({**LOG, "value": -1}, ("value",), "below zero"),
        ({**LOG, "value": "severity"}, ("value",), "the same for many log records"),
        ({"value": "detla"}, ("value",), "for metrics it is delta, count or sum"),
        ({"value": 5}, ("value",), "for metrics it is delta, count or sum"),
        ({"value": "attributes.x"}, ("value",), "for metrics it is delta, count or sum"),
        ({"scale": -1}, ("scale",), "must be above 0"),
        ({"scale": "1e-13"}, ("scale",), "at most 12 decimal places"),
        ({"scale": "1e20"}, ("scale",), "below 10^20"),
        ({"active_from": "2026-01-01"}, ("active_from",), "write it as 2026-01-31T00:00:00Z"),
        ({"active_from": "2026-02-30T00:00:00Z"}, ("active_from",), "reading time"),
        ({"customer": "body.x"}, ("customer",), "metric points have no body"),
        ({"customer": "${severity}"}, ("customer",), "metric points have no severity"),
        ({**LOG, "customer": "metric.name"}, ("customer",), "logs have no metric"),
        ({"customer": 'resources["x"]'}, ("customer",), "unknown selector root `resources`"),
        ({"customer": ["a", "attributes[1]"]}, ("customer", 1), "reading selector"),
        ({"customer": "attributes."}, ("customer",), "reading selector"),
        ({"customer": "attributes.a b"}, ("customer",), "reading selector"),
        ({"customer": 'attributes["a"'}, ("customer",), "reading selector"),
        ({"customer": 'attributes["a"]b'}, ("customer",), "reading selector"),
        ({"dimension": "${nope}"}, ("dimension",), "reading template"),
    ],
)
def test_what_is_wrong_with_one_rule(problems: Make, rule: Any, where: tuple[Any, ...], words: str) -> None:
    """Each mistake is one problem, at its value."""
    (problem,) = problems(rule)

    assert problem.where == (0, *where)
    assert words in problem.message


@pytest.mark.parametrize(
    ("text", "offset", "length", "help_"),
    [
        ('resources["x"]', 0, 9, "did you mean `resource`?"),
        ("attributes[http.route]", 10, 12, 'write attributes["http.route"]'),
        ("attributes.tags[0]", 15, 3, "list elements cannot be selected by position"),
        ("resource.service name", 8, 13, 'write resource["service name"]'),
        ("x-${attribtes.y}", 4, 11, "did you mean `attributes`?"),
        ("x-${attributes.y", 2, 14, ""),
    ],
)
def test_selector_mistakes_point_into_the_text(problems: Make, text: str, offset: int, length: int, help_: str) -> None:
    """The part of the text that is wrong is marked, with what to write instead."""
    (problem,) = problems({"customer": text})

    assert (problem.offset, problem.length, problem.help) == (offset, length, help_)


def test_names_are_unique(problems: Make) -> None:
    """A name that stands twice is an error at its second place."""
    (problem,) = problems({"name": "a"}, {"name": "b"}, {"name": "a"})

    assert (problem.where, problem.code) == ((2, "name"), "ML040")


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("t.csv", None, {}, "no such file"),
        ("t.txt", b"a,b\n", {}, "unknown kind of file `.txt`"),
        ("t.csv", b"", {}, "must name at least two columns"),
        ("t.csv", b"one\n1\n", {}, "must name at least two columns"),
        ("t.csv", b"k,v\n1,2,3\n", {}, "line 2 has 3 columns, the header has 2"),
        ("t.csv", b"k,v\n1,a\n1,b\n", {}, "line 3 says 'b' for key '1', line 2 says 'a'"),
        ("t.csv", b"k,v\n,a\n", {}, "line 2 has no key"),
        ("t.csv", b'k,v\n"1,a\n', {}, "unexpected end of data"),
        ("t.csv", b"k,v\n\xff,a\n", {}, "byte 4 is not UTF-8"),
        ("t.csv", b"key,value\n", {"value_column": "vlue"}, "it has no column `vlue`"),
        ("t.yaml", b"- a\n", {}, "it is not a mapping"),
        ("t.yaml", b"a: {b: c}\n", {}, "line 1 has no text or number"),
        ("t.yaml", b"a: [\n", {}, "line 2"),
        ("t.yaml", b"a: x\na: y\n", {}, "line 2 says 'y' for key 'a', line 1 says 'x'"),
        ("t.yaml", b"a: {nme: x}\n", {"value_column": "name"}, "line 1 has no field `name`"),
        ("t.yaml", b"a: x\n", {"key_column": "k"}, "`key_column` is for CSV files"),
    ],
)
def test_mistakes_in_tables(
    tmp_path: Path, problems: Make, *, name: str, content: bytes | None, options: Any, words: str
) -> None:
    """A table that cannot be used is an error of the config, with the line in the table."""
    if content is not None:
        (tmp_path / name).write_bytes(content)

    (problem,) = problems({"customer": {"lookup": {"file": name, "key": "attributes.k", **options}}})

    assert problem.where[:3] == (0, "customer", "lookup")
    assert words in problem.message


def test_a_lookup_by_a_literal_is_a_mistake(tmp_path: Path, problems: Make) -> None:
    """A key that is no selector would give every point the same answer."""
    (tmp_path / "t.csv").write_text("k,v\n1,a\n")

    (problem,) = problems({"customer": {"lookup": {"file": "t.csv", "key": "api_key"}}})

    assert problem.where == (0, "customer", "lookup", "key")


def test_the_exception_names_every_place(tmp_path: Path) -> None:
    """Whoever compiles without a config file sees which rule and key each message is about."""
    with pytest.raises(RuleSetError, match=r"\[0\]\.scale: reading scale 0.*; \[0\]\.value: "):
        rule_set({"scale": 0, "value": "x"}, base_dir=tmp_path)


def test_no_rules_are_a_rule_set_too() -> None:
    """Without rules everything is unmatched, under a hash of its own."""
    empty = RuleSet.compile([], Path())

    assert (empty.text, empty.keys()) == ("[]", ())


def test_a_name_is_reserved(problems: Make) -> None:
    """No rule may have the name that stands in the records of the usage API."""
    (problem,) = problems({"name": "a"}, {"name": "manual"})

    assert (problem.where, problem.code) == ((1, "name"), "ML040")
    assert "`manual` is reserved" in problem.message
