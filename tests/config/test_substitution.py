"""
``${env:}``, ``${file:}`` and ``$$``: what is substituted, how it is typed, and what is left alone.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meterline.config import Config
from meterline.kernel.seam import Context, PointType, Shape, Temporality
from meterline.rules import Generation

Load = Callable[..., Config]
Errors = Callable[..., tuple[Any, ...]]


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("${env:A}", {"A": "x"}, "x"),
        ("${env:A}", {"A": ""}, ""),
        ("${env:A:-y}", {"A": "x"}, "x"),
        ("${env:A:-y}", {}, "y"),
        ("${env:A:-y}", {"A": ""}, "y"),
        ("${env:A:-}", {}, ""),
        ("a${env:A}b${env:B}c", {"A": "1", "B": "2"}, "a1b2c"),
        ("${env:A}", {"A": "${env:B}", "B": "no"}, "${env:B}"),
        ("$$", {}, "$"),
        ("$${env:A}", {"A": "x"}, "${env:A}"),
        ("$$$$", {}, "$$"),
        ("$A ${A} $", {"A": "x"}, "$A ${A} $"),
        ("${other:A}", {}, "${other:A}"),
    ],
)
def test_texts(section: Load, text: str, environ: dict[str, str], expected: str) -> None:
    """Only these three forms mean something, once; everything else with a dollar sign stays."""
    config = section(f"forget: ['{text}']", **environ)

    assert config.forget == (expected,)


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ("max_resident_streams: ${env:V}", "5000", 5000),
        ('max_resident_streams: "${env:V}"', "5000", 5000),
        ("max_resident_streams: ${env:V}000", "5", 5000),
        ("max_resident_streams: ${env:UNSET:-7}", "", 7),
    ],
)
def test_numbers(section: Load, written: str, value: str, expected: int) -> None:
    """Where the model wants a number, what was substituted is typed as a plain scalar."""
    assert section(f"state:\n  {written}", V=value).state.max_resident_streams == expected


def test_booleans_and_decimals(section: Load) -> None:
    """The same for booleans and numbers with places, and for an option that may be absent."""
    text = 'telemetry: {metrics: {enabled: "${env:B}"}}\ntime: {max_future_secs: "${env:D}"}'
    config = section(text, B="false", D="1.5")

    assert config.telemetry.metrics.enabled is False
    assert config.time.max_future_secs == 1.5


@pytest.mark.parametrize("value", ["12345", "true", "null", "1.10", "~", "0x10"])
def test_texts_stay_texts(section: Load, value: str) -> None:
    """Where the model wants text, a value that looks like something else stays as it is: tokens, names, secrets."""
    text = 'telemetry: {otlp: {endpoint: "127.0.0.1:1", headers: {h: "${env:V}"}}}'
    config = section(text, V=value)

    assert config.telemetry.otlp is not None
    assert config.telemetry.otlp.headers["h"].get_secret_value() == value


@pytest.mark.parametrize("value", ["yes", "5x", "1_000", "0.5", ""])
def test_what_is_no_such_scalar_is_an_error(errors: Errors, value: str) -> None:
    """Substituted text that is no whole number stays an error, and is not shown."""
    (found,) = errors('ledger: {path: x, max_bytes: "${env:V}"}', V=value)

    assert (found.code, found.message) == ("ML022", "`ledger.max_bytes` is substituted text")


def test_an_empty_token_is_said_to_be_empty(errors: Errors) -> None:
    """An empty variable does not become null and with it no authentication; the error says what is wrong."""
    grpc = 'auth: {keys: [{name: a, token: "${env:TOKEN}"}]}'
    (found,) = errors(f"ledger: {{path: x}}\nreceivers: {{otlp: {{grpc: {{{grpc}}}}}}}", TOKEN="")

    assert (found.code, found.message) == ("ML024", "`receivers.otlp.grpc.auth.keys[0].token` must not be empty")


def test_numbers_and_booleans_of_rules(section: Load) -> None:
    """A rule's own numbers and booleans take substitutions as well."""
    config = section(
        'rules: [{name: a, match: {log: "${env:YES}", attributes: {x: {gte: "${env:N}"}}}, customer: c, dimension: d,'
        ' identity: content, value: "${env:N}", scale: "${env:N}", multi: "${env:YES}"}]',
        YES="true",
        N="2.5",
    )

    rule = config.rules[0]
    assert (rule.match.log, rule.multi, rule.scale, rule.value) == (True, True, Decimal("2.5"), Decimal("2.5"))
    assert rule.match.attributes["x"].gte == Decimal("2.5")  # type: ignore[union-attr]


def test_files(section: Load, tmp_path: Path) -> None:
    """A file's text comes in without its last line end, relative to the config."""
    (tmp_path / "secret").write_bytes(b"line 1\nline 2\r\n")

    assert section("forget: ['${file:secret}', '${file:./secret}!']").forget == ("line 1\nline 2", "line 1\nline 2!")


@pytest.mark.parametrize(
    ("content", "words"), [(b"\xff", "it is not UTF-8 text"), (b"x" * 1_048_577, "larger than 1048576 bytes")]
)
def test_files_that_cannot_be_used(errors: Errors, tmp_path: Path, content: bytes, words: str) -> None:
    """Other bytes than text, and endless files, are refused."""
    (tmp_path / "secret").write_bytes(content)

    (found,) = errors("ledger: {path: '${file:secret}'}")

    assert (found.code, found.message) == ("ML011", f"reading file 'secret': {words}")


def test_a_variable_that_is_not_text(errors: Errors) -> None:
    """Bytes that are not UTF-8, as the system hands them over, are refused by the variable's name."""
    (found,) = errors("ledger: {path: '${env:V}'}", V="\udcff")

    assert (found.code, found.message) == ("ML012", "environment variable `V` is not UTF-8 text")


def test_an_alias_is_substituted_once(section: Load) -> None:
    """A value that stands behind an alias is not substituted twice: ``$$$$`` stays two dollar signs."""
    assert section("forget: [&a '$$$$', *a]").forget == ("$$", "$$")


def customer_of(config: Config, **attributes: str) -> str | None:
    """
    Return the customer that the first rule finds for a point.
    """
    bound = config.rule_set.bind(Generation(1, {}, {}))
    context = Context(PointType.SUM, "x", "1", Temporality.DELTA, True, {}, "", "", {})
    fields = bound.context(context).fields
    assert isinstance(fields, tuple)
    (charge,) = bound.shape(Shape(context, tuple(attributes[path[1]] for path in fields))).charges
    return charge.customer


@pytest.mark.parametrize(
    ("customer", "environ", "expected"),
    [
        ("${attributes.a}", {}, "acme"),
        ("${env:PREFIX}-${attributes.a}", {"PREFIX": "eu"}, "eu-acme"),
        ("$${attributes.a}", {}, "${attributes.a}"),
        ("$$${attributes.a}", {}, "$acme"),
        ("${env:EVIL}", {"EVIL": "${attributes.a}"}, "${attributes.a}"),
        ("x${env:EVIL}", {"EVIL": "$"}, "x$"),
        ("x${env:EVIL}{attributes.a}", {"EVIL": "$"}, "x${attributes.a}"),
        ("${env:SELECTOR}", {"SELECTOR": "attributes.a"}, "acme"),
    ],
)
def test_templates_of_rules_keep_working(section: Load, customer: str, environ: dict[str, str], expected: str) -> None:
    """In a rule ``${selector}`` is the rule's, ``${env:}`` the config's; what is substituted cannot open a template."""
    config = section(f"rules: [{{name: a, match: {{metric: x}}, customer: '{customer}', dimension: d}}]", **environ)

    assert customer_of(config, a="acme") == expected


def test_the_rest_of_a_rule_has_no_templates(section: Load) -> None:
    """In a match, ``$$`` is a dollar sign as everywhere else, and a lone one at the end of an expression stays."""
    rule = "{name: a, match: {metric: x, attributes: {a: {regex: '^a$'}, b: 'x$$'}}, customer: c, dimension: d}"
    match = section(f"rules: [{rule}]").rules[0].match

    assert match.attributes["a"].regex == "^a$"  # type: ignore[union-attr]
    assert match.attributes["b"] == "x$"
