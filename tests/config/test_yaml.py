"""
YAML as configs need it: the core schema of 1.2, positions, aliases within a budget, merges.
"""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.config.source import MAX_NODES, compose, plain_data, walk


def read(text: str) -> tuple[Any, list[tuple[Any, ...]]]:
    """
    Return the data of a text, and what was reported.
    """
    reported: list[tuple[Any, ...]] = []
    root = compose(text, lambda *report: reported.append(report))
    return (None if root is None else plain_data(root)), reported


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0x" + "f" * 5000, "0x" + "f" * 5000),
        ("-7", -7),
        ("1.10", Decimal("1.10")),
        ("1e3", Decimal("1e3")),
        (".5", Decimal("0.5")),
        ("0.12345678901234567890123", Decimal("0.12345678901234567890123")),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("~", None),
        ("null", None),
        ("", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("9" * 400, "9" * 400),
    ],
)
def test_scalars_are_those_of_yaml_1_2(scalar: str, expected: Any) -> None:
    """No boolean but true and false, no sexagesimals, no dates; numbers are exact; quotes make texts."""
    assert read(f"a: {scalar}\n") == ({"a": expected}, [])


@pytest.mark.parametrize(
    ("text", "way", "place"),
    [
        ("a: {b: [x, y]}", ("a", "b", 1), (0, 11)),
        ("a:\n  - b: 1\n    c: 'q'\n", ("a", 0, "c"), (2, 7)),
        ("a: &x q\nb: *x\n", ("b",), (0, 6)),
        ("a: |\n  text\n", ("a",), (0, 3)),
        ("# comment\n\na: 5", ("a",), (2, 3)),
        ("ключ: {é: ü}", ("ключ", "é"), (0, 10)),
    ],
)
def test_every_value_knows_where_it_stands(text: str, way: Any, place: tuple[int, int]) -> None:
    """Line and column (from 0) are those of the value itself; an alias stands where its anchor is."""
    root = compose(text, lambda *_: pytest.fail("nothing is wrong with it"))
    assert root is not None

    item = dict(walk(root))[way]

    assert (item.span.line, item.span.column) == place


def test_merges_fill_what_is_not_written() -> None:
    """``<<`` takes a mapping or a list of mappings; written keys win, and earlier ones of the list."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 0}\nd: {<<: *b}\n"

    data, reported = read(text)

    assert reported == []
    assert data["c"] == {"x": 0, "y": 1, "z": 2}
    assert data["d"] == {"y": 2, "z": 2}


def test_half_a_surrogate_pair_is_an_error() -> None:
    """An escape that makes no character is reported where it stands."""
    data, reported = read('a: "x\\ud800"\n')

    assert data == {"a": None}
    assert [(report[0].line, report[0].column, report[1]) for report in reported] == [(0, 3, "ML006")]


def test_a_quoted_merge_key_is_a_key() -> None:
    """Only the plain ``<<`` merges."""
    assert read('a: {"<<": 1}') == ({"a": {"<<": 1}}, [])


def test_an_alias_bomb_is_an_error_and_quick() -> None:
    """A few hundred bytes that stand for 10^9 values are refused at the budget, and nothing is built beyond it."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    reported: list[str] = []

    root = compose("\n".join(lines), lambda span, code, message, help_: reported.append(f"{code} {message}"))

    assert root is not None
    assert reported == [f"ML005 reading YAML: over {MAX_NODES} values, aliases written out"]
    assert sum(1 for _ in walk(root)) < 2 * MAX_NODES


@pytest.mark.parametrize(("depth", "code"), [(49, None), (50, "ML005"), (100, "ML005"), (250, "ML005"), (900, "ML002")])
def test_deep_nesting_is_an_error_and_no_crash(depth: int, code: str | None) -> None:
    """Values may be nested so deep as anybody needs; deeper is refused with words, and never overflows the stack."""
    _, reported = read("a: " + "[" * depth + "]" * depth)

    assert [report[1] for report in reported] == ([code] if code else [])


def test_aliases_nest_as_deep_as_what_they_name() -> None:
    """Depth counts aliases written out."""
    lines = ["a0: &a0 x", *(f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, 60))]

    _, reported = read("\n".join(lines))

    assert {report[1] for report in reported} == {"ML005"}


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text("ab :#-'\"\n{}[]é,&*!|>%@`\t0", max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc: #'\"", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(data=st.dictionaries(st.text("abc", min_size=1, max_size=3), PLAIN, min_size=1, max_size=3))
def test_json_is_read_as_yaml(data: dict[str, Any]) -> None:
    """YAML 1.2 contains JSON: what its writer writes comes back as it was."""
    assert read(json.dumps(data, ensure_ascii=False)) == (data, [])
    assert read(json.dumps(data, ensure_ascii=False, indent=2)) == (data, [])


@given(text=st.text("ab:- \n\t{}[]'\"&*!|>#%$,?<~01.", max_size=40))
def test_any_text_gives_data_or_a_report(text: str) -> None:
    """Whatever the text, it is read or reported; nothing else is ever raised."""
    data, reported = read(text)

    assert data is None or reported or isinstance(data, dict | list | str | int | Decimal | bool)
