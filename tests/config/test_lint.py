"""
Warnings about configs that work and may not mean what they say.
"""

from collections.abc import Callable
from typing import Any

import pytest

from meterline.config import Config, ConfigurationErrors, lint

Load = Callable[..., Config]

A = "name: a, match: {metric: x}, customer: 'attributes.c', dimension: d"


def matching(extra: str) -> str:
    """
    Return the rule with one more condition in its match.
    """
    return A.replace("x}", f"x, {extra}}}")


def found(config: Config) -> list[tuple[str, str]]:
    """
    Return code and path of each warning.
    """
    assert all(each.severity == "warning" for each in lint(config))
    return [(each.code, each.path) for each in lint(config)]


def rules(section: Load, *texts: str) -> list[tuple[str, str]]:
    """
    Return what is warned of in rules written as flow mappings, without their braces.
    """
    return found(section("rules:\n" + "".join(f"  - {{{text}}}\n" for text in texts)))


def test_a_good_rule_has_no_warnings(section: Load) -> None:
    """Nothing is said of the usual rule."""
    assert (
        rules(section, A, "name: l, match: {log: true}, customer: attributes.c, dimension: calls, identity: content")
        == []
    )


@pytest.mark.parametrize(
    ("other", "warned"),
    [
        ("name: b, match: {metric: x}, customer: attributes.c, dimension: d", True),
        ("name: b, match: {metric: 'x*'}, customer: attributes.c, dimension: d", True),
        ("name: b, match: {metric: [y, x]}, customer: attributes.other, dimension: d", True),
        ("name: b, match: {metric: x, unit: s}, customer: acme, dimension: d, multi: true", True),
        ("name: b, match: {metric: y}, customer: attributes.c, dimension: d", False),
        ("name: b, match: {metric: 'y*'}, customer: attributes.c, dimension: d", False),
        ("name: b, match: {metric: x}, customer: attributes.c, dimension: e", False),
        ("name: b, match: {log: true}, customer: attributes.c, dimension: d, identity: content", False),
        ("name: b, match: {metric: x}, customer: attributes.c, dimension: d, when: value > 1", False),
        ("name: b, match: {metric: {in: [y, z]}}, customer: attributes.c, dimension: d", False),
        ("name: b, match: {metric: {equals: x}}, customer: attributes.c, dimension: d", True),
        ("name: b, match: {metric: {glob: 'y*'}}, customer: attributes.c, dimension: d", False),
        ("name: b, match: {metric: {glob: 'x*'}}, customer: attributes.c, dimension: d", True),
        ("name: b, match: {metric: {regex: '^y'}}, customer: attributes.c, dimension: d", True),
    ],
)
def test_two_rules_that_may_bill_twice(section: Load, other: str, warned: bool) -> None:  # noqa: FBT001 - a parameter of the case
    """Two rules without multi that may come to one customer and dimension, as far as it can be known."""
    assert (("ML101", "rules[0].dimension") in rules(section, A, other)) is warned


def test_globs_may_share_a_name(section: Load) -> None:
    """Two globs are never taken for disjoint."""
    other = A.replace("name: a", "name: b").replace("{metric: x}", "{metric: 'y*'}")

    assert rules(section, A.replace("{metric: x}", "{metric: '*z'}"), other) == [("ML101", "rules[0].dimension")]


def test_rules_with_multi_or_with_other_attributes_do_not(section: Load) -> None:
    """Saying multi in both, or one attribute that would have to be two things, settles it; so do two literal customers."""
    get = "match: {metric: x, attributes: {method: GET}}, customer: attributes.c, dimension: d"
    post = get.replace("GET", "[POST, PUT]")
    assert rules(section, f"name: a, {get}", f"name: b, {post}") == []
    assert rules(section, f"{A}, multi: true", f"{A.replace('name: a', 'name: b')}, multi: true") == []
    literal = "match: {metric: x}, dimension: d, customer:"
    assert ("ML101", "rules[0].dimension") not in rules(
        section, f"name: a, {literal} acme", f"name: b, {literal} globex"
    )


@pytest.mark.parametrize(
    ("rule", "warning"),
    [
        (
            "name: l, match: {log: true}, customer: attributes.c, dimension: d, identity: none",
            ("ML102", "rules[0].identity"),
        ),
        (A.replace("{metric: x}", "{metric: {regex: a*}}"), ("ML103", "rules[0].match.metric.regex")),
        (matching("type: gauge"), ("ML104", "rules[0].match.type")),
        (matching("type: [histogram, summary]"), ("ML104", "rules[0].match.type")),
        (matching("type: sum") + ", value: count", ("ML104", "rules[0].value")),
        (matching("unit: ms") + ", unit: s", ("ML104", "rules[0].unit")),
        (A.replace("attributes.c", "acme"), ("ML105", "rules[0].customer")),
        (A.replace("dimension: d", "dimension: metric.nmae"), ("ML105", "rules[0].dimension")),
        (matching("attributes: {a: []}"), ("ML106", "rules[0].match.attributes.a")),
        (matching("attributes: {a: {in: []}}"), ("ML106", "rules[0].match.attributes.a.in")),
        (matching("attributes: {a: {gte: 5, lt: 5}}"), ("ML106", "rules[0].match.attributes.a")),
        (matching("attributes: {v: 1.10}"), ("ML107", "rules[0].match.attributes.v")),
        (matching("attributes: {v: [1, 007]}"), ("ML107", "rules[0].match.attributes.v[1]")),
        (f"{A}, when: 'attributes[\"k\"] == 1'", ("ML109", "rules[0].when")),
        (f'{A}, when: \'resource["k"] == "x"\'', ("ML109", "rules[0].when")),
        (
            matching("attributes: {k: {exists: false}}") + ", when: 'attributes[\"k\"] == 1'",
            ("ML109", "rules[0].when"),
        ),
    ],
)
def test_one_rule(section: Load, rule: str, warning: tuple[str, str]) -> None:
    """Each oddity is one warning at its value."""
    assert rules(section, rule) == [warning]


@pytest.mark.parametrize(
    "rule",
    [
        f'{A}, when: \'"k" in attributes && attributes["k"] == 1\'',
        f"{A}, when: 'has(attributes.k) && attributes.k == 1'",
        matching("attributes: {k: {exists: true}}") + ", when: 'attributes[\"k\"] == 1'",
        matching("attributes: {k: 5}") + ", when: 'attributes[\"k\"] == 1'",
        f"{A}, when: 'metric.unit == \"s\"'",
        A.replace("{metric: x}", "{metric: {regex: ^a+$}}"),
        matching("attributes: {a: {gte: 5, lte: 5}}"),
        matching("attributes: {a: {gte: 1.10}}"),
        matching('attributes: {v: "1.10"}'),
        A.replace("attributes.c", "${attributes.c}-x"),
    ],
)
def test_what_is_guarded_or_meant_is_not_warned_of(section: Load, rule: str) -> None:
    """The same forms, said right."""
    assert rules(section, rule) == []


AUTH = "auth: {keys: [{name: a, token: abcdef}]}"
OPEN = [
    ("endpoint: 0.0.0.0:4317", ""),
    ("endpoint: '[::]:4317'", ""),
    ("endpoint: 127.example.com:4317", ""),
    ("endpoint: 0.0.0.0:4317, tls: {cert_file: a, key_file: b}", ""),
]
GUARDED = [
    ("endpoint: 0.0.0.0:4317, tls: {cert_file: a, key_file: b, client_ca_file: c}", ""),
    (f"endpoint: 0.0.0.0:4317, tls: {{cert_file: a, key_file: b}}, {AUTH}", ""),
    ("endpoint: 0.0.0.0:4317, tls: {cert_file: a, key_file: b}", AUTH),
    ("endpoint: 0.0.0.0:4317, insecure: true", ""),
    ("endpoint: 127.0.0.1:4317", ""),
    ("endpoint: localhost:4317", ""),
    ("endpoint: '[::1]:4317'", ""),
    ("endpoint: unix:/tmp/x", ""),
    ("", ""),
]


def listener(half: str, keys: str, top: str) -> str:
    """Return a config with one listener of these keys."""
    return f"ledger: {{path: x}}\nreceivers: {{otlp: {{{half}: {{{keys}}}}}}}\nrules: [{{{A}}}]\n{top}\n"


@pytest.mark.parametrize("half", ["grpc", "http"])
@pytest.mark.parametrize(("keys", "top"), OPEN)
def test_an_open_listener_is_an_error(load: Load, half: str, keys: str, top: str) -> None:
    """Everybody who reaches it could write usage: that must be asked for by name."""
    with pytest.raises(ConfigurationErrors) as caught:
        load(listener(half, keys, top))

    assert [(each.code, each.path) for each in caught.value.diagnostics] == [
        ("ML032", f"receivers.otlp.{half}.endpoint")
    ]
    assert "could write usage for any customer" in caught.value.diagnostics[0].message


@pytest.mark.parametrize("half", ["grpc", "http"])
@pytest.mark.parametrize(("keys", "top"), GUARDED)
def test_a_guarded_listener_is_not_warned_of(load: Load, half: str, keys: str, top: str) -> None:
    """Certificates, credentials over TLS, an address of this machine, or the operator's word for it."""
    assert lint(load(listener(half, keys, top))) == []


@pytest.mark.parametrize(("keys", "top"), [(f"endpoint: 0.0.0.0:4317, {AUTH}", ""), ("endpoint: 0.0.0.0:4317", AUTH)])
def test_credentials_in_plain_text_are_warned_of(load: Load, keys: str, top: str) -> None:
    """Without TLS anybody on the way reads them."""
    (warning,) = lint(load(listener("grpc", keys, top)))

    assert (warning.code, warning.path) == ("ML108", "receivers.otlp.grpc.endpoint")
    assert "travel in plain text" in warning.message


def test_configs_that_do_nothing(load: Load) -> None:
    """Without a receiver or a rule nothing can come of it; an exporter is not needed."""
    messages = [each.message for each in lint(load("ledger: {path: x}"))]

    assert messages == ["there is no receiver: nothing can come in", "there is no rule: every point will be unmatched"]


def test_usage_needs_no_rule(load: Load) -> None:
    """Records that are told need no rule; points beside them do."""
    usage = "usage: {http: {}}"
    assert lint(load(f"ledger: {{path: x}}\nreceivers: {{{usage}}}")) == []
    (warning,) = lint(load(f"ledger: {{path: x}}\nreceivers: {{{usage}, otlp: {{grpc: {{}}}}}}"))
    assert warning.code == "ML110"


def test_forgetting_an_exporter_that_is_there(section: Load) -> None:
    """``forget`` is for exporters that are gone."""
    warnings: Any = lint(section(f"rules: [{{{A}}}]\nexporters: {{file: {{path: x}}}}\nforget: [gone, file]"))

    assert [(each.code, each.path) for each in warnings] == [("ML111", "forget[1]")]


def test_warnings_point_into_the_file(section: Load) -> None:
    """A warning is a diagnostic like an error: place, excerpt, remedy, in the order of the file."""
    config = section("rules:\n  - name: a\n    match: {metric: x, type: gauge}\n    customer: acme\n    dimension: d\n")

    first, second = lint(config)
    assert (first.line, first.column, first.excerpt) == (5, 30, "    match: {metric: x, type: gauge}")
    assert (second.line, second.column, second.length) == (6, 15, 4)
    assert str(second).startswith("warning[ML105]: every point is billed to the one customer `acme`\n  --> ")
