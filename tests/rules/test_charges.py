"""
What a rule makes of a shape: value forms, units, scale, failures, identities, activation, rivals.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterline.kernel.reasons import Reason
from meterline.kernel.seam import (
    Context,
    Fields,
    LogIdentity,
    PointType,
    PointView,
    Shape,
    Temporality,
    Track,
    Unknown,
)

Make = Callable[..., Any]

HISTOGRAM = {"type": PointType.HISTOGRAM}
LOG = {"match": {"log": True}, "identity": "content"}


@pytest.mark.parametrize(
    ("rule", "context", "track", "raw"),
    [
        ({}, {}, Track.NUMBER, None),
        ({"value": "delta"}, {"temporality": Temporality.CUMULATIVE}, Track.NUMBER, None),
        ({}, {"type": PointType.GAUGE, "monotonic": False}, Track.NUMBER, Reason.NEEDS_CONVERSION),
        ({}, {"monotonic": False}, Track.NUMBER, Reason.NEEDS_CONVERSION),
        ({"allow_negative": True}, {"monotonic": False}, Track.NUMBER, None),
        (
            {"allow_negative": True},
            {"monotonic": False, "temporality": Temporality.CUMULATIVE},
            Track.NUMBER,
            Reason.NEEDS_CONVERSION,
        ),
        ({}, HISTOGRAM, Track.NUMBER, Reason.NEEDS_CONVERSION),
        ({"value": "count"}, HISTOGRAM, Track.COUNT, None),
        ({"value": "sum"}, HISTOGRAM, Track.SUM, None),
        ({"value": "count"}, {"type": PointType.EXPONENTIAL_HISTOGRAM}, Track.COUNT, None),
        ({"value": "sum"}, {"type": PointType.SUMMARY}, Track.SUM, None),
        ({"value": "sum"}, {}, Track.SUM, Reason.NEEDS_CONVERSION),
        ({"value": "count"}, {"type": PointType.GAUGE}, Track.COUNT, Reason.NEEDS_CONVERSION),
    ],
)
def test_value_says_what_is_read_of_which_type(
    asking: Make, rule: Any, context: Any, track: Track, raw: Reason | None
) -> None:
    """Delta fits sums; count and sum fit histograms and summaries; everything else needs a conversion."""
    charge = asking(rule).charge({}, **context)

    assert (charge.track, charge.raw) == (track, raw)


def test_a_charge_knows_whether_value_is_written(asking: Make) -> None:
    """What is written, even if it is the default, bills sums whose type nobody knows (docs/transcoding.md)."""
    assert not asking({}).charge({}).explicit
    assert asking({"value": "delta"}).charge({}).explicit


def test_a_log_without_value_counts_one(asking: Make) -> None:
    """The default quantity of a log is the literal 1."""
    (charge,) = asking(LOG).log().charges

    assert (charge.track, charge.value, charge.literal) == (Track.EVENT, None, 10**18)


@pytest.mark.parametrize(
    ("value", "path", "literal"),
    [
        ("attributes.tokens", ("attributes", "tokens"), 10**18),
        ('body["usage"].n', ("body", "usage", "n"), 10**18),
        (2.5, None, 25 * 10**17),
        (3, None, 3 * 10**18),
        (1e-18, None, 1),
    ],
)
def test_a_logs_value_is_a_selector_or_a_number(asking: Make, value: Any, path: Any, literal: int) -> None:
    """A selector is read by the kernel of every record; a number is exact."""
    (charge,) = asking({**LOG, "value": value}).log().charges

    assert (charge.value, charge.literal) == (path, literal)


def test_a_value_in_a_json_body_has_the_parsed_root(asking: Make) -> None:
    """With parse_body the kernel is told to look into the parsed text."""
    rule = {**LOG, "value": "body.n", "identity": "body.id", "parse_body": "json"}

    (charge,) = asking(rule).log().charges

    assert (charge.value, charge.identity) == (("body_json", "n"), ("body_json", "id"))


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ('attributes["event.id"]', ("attributes", "event.id")),
        ("content", LogIdentity.CONTENT),
        ("none", LogIdentity.NONE),
    ],
)
def test_identities(asking: Make, identity: str, expected: Any) -> None:
    """A log's identity is a path in the record, its content, or nothing."""
    (charge,) = asking({**LOG, "identity": identity}).log({"event.id": "e1"}).charges

    assert charge.identity == expected


@pytest.mark.parametrize(
    ("scale", "factor"),
    [
        ("1.50000000000000000", 15 * 10**11),
        (1, 10**12),
        (0.001, 10**9),
        ("0.000000000001", 1),
        (1000, 10**15),
        ("1.5", 15 * 10**11),
        (1e3, 10**15),
    ],
)
def test_scale_is_exact(asking: Make, scale: Any, factor: int) -> None:
    """The factor is the scale times 10^12, exactly."""
    assert asking({"scale": scale}).charge().factor == factor


@given(places=st.integers(0, 12), digits=st.integers(1, 10**15))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_scale_of_twelve_places_is_exact(asking: Make, places: int, digits: int) -> None:
    """Written as text, every scale of at most 12 places comes out as it is."""
    text = f"{digits // 10**places}.{digits % 10**places:0{places}d}" if places else str(digits)

    assert asking({"scale": text}).charge().factor == digits * 10 ** (12 - places)


@pytest.mark.parametrize(
    ("rule", "point", "failure"),
    [
        ({"customer": "attributes.c"}, {}, Reason.MISSING_CUSTOMER),
        ({"dimension": "attributes.d"}, {}, Reason.MISSING_DIMENSION),
        ({"customer": "attributes.c", "dimension": "attributes.d", "unit": "x"}, {}, Reason.MISSING_CUSTOMER),
        ({"dimension": "attributes.d", "unit": "x"}, {}, Reason.MISSING_DIMENSION),
        ({"unit": "x"}, {}, Reason.UNIT_MISMATCH),
        ({"unit": "1"}, {}, None),
        ({"when": 'attributes["x"] == 1', "customer": "attributes.c"}, {}, Reason.RULE_ERROR),
    ],
)
def test_the_first_failure_in_the_order_of_stage_four(
    asking: Make, rule: Any, point: Any, failure: Reason | None
) -> None:
    """when, customer, dimension, unit: the first that fails is the reason, and the claim is made all the same."""
    assert asking(rule).charge(point).failure is failure


def test_a_missing_customer_may_be_ignored_but_an_error_may_not(asking: Make) -> None:
    """``on_missing_customer: ignore`` is about the customer alone."""
    rule = {"customer": "attributes.c", "on_missing_customer": "ignore"}

    assert asking(rule).charge({}).ignore is True
    assert asking(rule).charge({"c": "acme"}).ignore is False
    assert asking({**rule, "dimension": "attributes.d"}).charge({"c": "acme"}).ignore is False
    assert asking({**rule, "when": 'attributes["x"] == 1'}).charge({}).ignore is False


def test_a_log_with_a_selected_identity_needs_a_customer_for_it(asking: Make) -> None:
    """A missing customer is part of no identity: raw, for that rule alone; not with content, and not when ignored."""
    rule = {**LOG, "customer": "attributes.c", "identity": "attributes.id"}

    def raw(changes: Any) -> Any:
        (charge,) = asking({**rule, **changes}).log({"id": "e1"}).charges
        return charge.raw

    assert raw({}) is Reason.MISSING_IDENTITY_CUSTOMER
    assert raw({"identity": "content"}) is None
    assert raw({"on_missing_customer": "ignore"}) is None
    assert raw({"customer": "acme"}) is None


def test_activation_comes_from_the_generation_or_is_written(asking: Make) -> None:
    """Since and continuity are the ledger's; a written active_from wins and says that it was written."""
    asked = asking(
        {"name": "a"},
        {"name": "b", "active_from": "2026-01-02T03:04:05.000000006+01:00"},
        since={"a": 5, "b": 6},
        gen=3,
    )

    first, second = asked.verdict().charges
    assert (first.since, first.active_from, first.continuous_from_gen) == (5, False, 3)
    assert (second.since, second.active_from) == (1_767_319_445_000_000_006, True)
    assert asked.verdict().gen == asked.context().gen == 3


@pytest.mark.parametrize(
    ("rules", "rivals"),
    [
        ([{}, {}], [0b10, 0b01]),
        ([{"multi": True}, {"multi": True}], [0, 0]),
        ([{"multi": True}, {}], [0b10, 0b01]),
        ([{"multi": True}, {"multi": True}, {}], [0b100, 0b100, 0b011]),
        ([{}, {"dimension": "other"}], [0, 0]),
        ([{}, {"customer": "other"}], [0, 0]),
        ([{"customer": "attributes.a"}, {"customer": "attributes.b"}], [0b10, 0b01]),
        ([{"customer": "attributes.none"}, {"customer": "attributes.none"}], [0, 0]),
        ([{}, {"match": {"metric": "other"}}, {}], [0b10, 0b01]),
    ],
)
def test_rivals_are_what_comes_to_one_customer_and_dimension(asking: Make, rules: Any, rivals: list[int]) -> None:
    """Claims of one customer and dimension are rivals, unless both rules say multi; bits count this verdict's charges."""
    charges = asking(*rules).verdict({"a": "same", "b": "same"}).charges

    assert [charge.rivals for charge in charges] == rivals


def test_several_rules_make_several_charges_in_the_order_of_the_file(asking: Make) -> None:
    """Each rule that matches makes its own claim."""
    rules = [{"dimension": name} for name in "zxy"]

    assert [charge.dimension for charge in asking(*rules).verdict().charges] == ["z", "x", "y"]


def test_no_rule_for_a_context_is_skip_and_for_a_shape_is_unmatched(asking: Make) -> None:
    """SKIP where nothing can match; an empty verdict where the point's own values say no."""
    asked = asking({"match": {"metric": "requests", "attributes": {"a": "x"}}})

    assert asked.context(name="other").fields is Fields.SKIP
    assert asked.context(name="other").overflow == 0
    assert asked.verdict({"a": "y"}).charges == ()


def test_overflow_points_are_matched_by_metric_resource_and_scope_alone(asking: Make) -> None:
    """The context's verdict counts the rules that match without looking at attributes or at `when` over the point."""
    asked = asking(
        {"match": {"metric": "requests", "attributes": {"a": "x"}}},
        {"when": 'attributes["a"] == 1'},
        {"when": "value > 1"},
        {"match": {"metric": "requests", "resource": {"env": "prod"}}},
        {"match": {"metric": "other"}},
    )

    assert asked.context().overflow == 3
    assert asked.context(resource={"env": "prod"}).overflow == 4
    assert asking(LOG).context(type=PointType.LOG, name="").overflow == 0


def test_answer_gives_back_every_id(asking: Make) -> None:
    """One call answers contexts, shapes and points, in a form that learn and decide take."""
    asked = asking({"when": "value > 1"})
    context = Context(PointType.SUM, "requests", "1", Temporality.DELTA, True, {}, "", "", {})
    shape = Shape(context, ())
    view = PointView(shape, asked.bound.shape(shape).charges, {}, None, 2, None, 0, 0)

    learned, masks = asked.bound.answer(Unknown(1, [(7, context)], [(8, shape)], [(9, view)]))

    assert [at for at, _ in learned] == [7, 8]
    assert learned[0][1] == asked.bound.context(context)
    assert learned[1][1] == asked.bound.shape(shape)
    assert masks == [(9, 1, 0)]


def test_equal_contexts_get_equal_answers_however_many_there_were(asking: Make) -> None:
    """The memory of contexts is bounded and never changes an answer."""
    asked = asking({"match": {"metric": "requests", "resource": {"n": {"lt": 2500}}}})

    counts = [asked.context(resource={"n": n}).overflow for n in range(5000)]

    assert counts == [1] * 2500 + [0] * 2500
    assert len(asked.bound._known) <= 4096
