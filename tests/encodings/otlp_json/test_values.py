"""
Single values of OTLP/JSON: exact where one meaning is possible, wrong everywhere else.
"""

import json
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Sum

from meterline.encodings import json as exact
from meterline.encodings.otlp_json import values
from meterline.encodings.otlp_json.aside import Aside
from meterline.encodings.otlp_json.tables import message
from meterline.encodings.otlp_json.wrong import WrongError

INT64 = range(-(2**63), 2**63)
SUM = message(Sum.DESCRIPTOR)


def parsed(written: str) -> Any:
    """
    Read a value as the decoder is given it.
    """
    return exact.parse(written.encode())


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"9007199254740993"', 2**53 + 1),
        ("9007199254740993", 2**53 + 1),
        ('"9223372036854775807"', 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("3.0", 3),
        ('"3.0"', 3),
        ("1e3", 1000),
        ('"1E+3"', 1000),
        ("9007199254740993.0", 2**53 + 1),
        ("92233720368547758.07e2", 2**63 - 1),
        ("-0", 0),
        ("-0.0", 0),
        ("0e-400", 0),
        ('"007"', 7),
    ],
)
def test_integers_are_read_exactly(written: str, value: int) -> None:
    """
    A whole number is that number however it is written, and never goes through a float.
    """
    found = values.integer(parsed(written), INT64)

    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize(
    "written",
    [
        '"abc"', '""', '" 5"', '"5 "', '"+5"', '"1_0"', '"0x10"', '"\u0665"', '"1e"', '"."', '"NaN"', "0.5", '"1.5"', "1e-3",
        "9223372036854775808", '"9223372036854775808"', "1e19", "1e400", '"1e999999999"', "1e-999999999", "true", "[]", "{}",
        '"' + "9" * 5000 + '"', '"1e9999999999"',
    ],
)  # fmt: skip
def test_what_is_no_integer_is_wrong(written: str) -> None:
    """
    Fractions, numbers beyond 64 bits, booleans and other texts are no integers.
    """
    with pytest.raises(WrongError):
        values.integer(parsed(written), INT64)


@pytest.mark.parametrize(
    ("written", "value"),
    [("3", 3.0), ("0.1", 0.1), ('"0.1"', 0.1), ('"-1e-3"', -0.001), ("9007199254740993", 9007199254740992.0),
     ("1795346017.935926123", 1795346017.935926123), ('"Infinity"', float("inf")), ('"-Infinity"', float("-inf")),
     ("1e-400", 0.0)],
)  # fmt: skip
def test_doubles(written: str, value: float) -> None:
    """
    A double is the nearest to the number written, or one of the infinities.
    """
    found = values.real(parsed(written))

    assert (found, type(found)) == (value, float)


def test_nan_is_read_from_its_name() -> None:
    """
    "NaN" is a double that equals nothing.
    """
    found = values.real("NaN")

    assert found != found  # noqa: PLR0124  # that is what NaN is


@pytest.mark.parametrize(
    "written",
    ['"nan"', '"inf"', '"infinity"', '"1_0"', '" 1"', '""', "true", "[]", "1e400", '"1e400"', "1" + "0" * 400],
)
def test_what_is_no_double_is_wrong(written: str) -> None:
    """
    Other spellings, and finite numbers that no double can hold, are wrong, never infinite.
    """
    with pytest.raises(WrongError):
        values.real(parsed(written))


@pytest.mark.parametrize(("written", "value"), [("true", True), ('"true"', True), ("false", False), ('"false"', False)])
def test_booleans(written: str, value: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """
    A boolean may be its text, as agents' templates write it.
    """
    assert values.boolean(parsed(written)) is value


@pytest.mark.parametrize("written", ["1", "0", '"True"', '"yes"', "[]", "1.0"])
def test_what_is_no_boolean_is_wrong(written: str) -> None:
    """
    Numbers and other texts are no booleans.
    """
    with pytest.raises(WrongError):
        values.boolean(parsed(written))


@pytest.mark.parametrize(
    ("written", "value"),
    [("2", 2), ('"2"', 2), ('"AGGREGATION_TEMPORALITY_CUMULATIVE"', 2), ("2.0", 2), ("77", 77), ("-1", -1)],
)
def test_enums(written: str, value: int) -> None:
    """
    An enum is its number, known or not, or its name.
    """
    field = f'{{"aggregationTemporality":{written}}}'

    assert Sum.FromString(SUM.encode(parsed(field), Aside())).aggregation_temporality == value


@pytest.mark.parametrize("written", ['"DELTA"', '"delta"', "4294967296", "1.5", "true", "[]"])
def test_what_is_no_enum_is_wrong(written: str) -> None:
    """
    An unknown name is never taken for the unspecified value.
    """
    with pytest.raises(WrongError):
        SUM.encode(parsed(f'{{"aggregationTemporality":{written}}}'), Aside())


@pytest.mark.parametrize(
    ("written", "value"),
    [("5b8efff798038103d269b633813fc60c", "5b8efff798038103d269b633813fc60c"),
     ("5B8EFFF798038103D269B633813FC60C", "5b8efff798038103d269b633813fc60c"),
     ("", ""), ("5b8e", ""), ("W47/95gDgQPSabYzgT/GDA==", ""), ("5b8efff798038103d269b633813fc60g", ""),
     ("5b 8efff798038103d269b633813fc6 0", ""), (5, ""), (None, ""), ([], "")],
)  # fmt: skip
def test_ids_are_hex(written: Any, value: str) -> None:
    """
    A trace id is hex in any case; what is not, or has another length, is absent.
    """
    assert values.trace_id(written, 16).hex() == value


@pytest.mark.parametrize(
    ("written", "value"),
    [("", b""), ("AP8=", b"\x00\xff"), ("AP8", b"\x00\xff"), ("-_-_", b"\xfb\xff\xbf"), ("+/+/", b"\xfb\xff\xbf")],
)
def test_bytes_are_base64(written: str, value: bytes) -> None:
    """
    Bytes are base64 of either alphabet, padded or not.
    """
    assert values.base64(written) == value


@pytest.mark.parametrize("written", ["A", "AP8!", "A P8", "AP=8", "\u00e9", 5, None, []])
def test_what_is_no_base64_is_wrong(written: Any) -> None:
    """
    Other characters, and a length that no bytes have, are wrong.
    """
    with pytest.raises(WrongError):
        values.base64(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, AnyValue()),
        ({"stringValue": ""}, AnyValue(string_value="")),
        ({"string_value": "a"}, AnyValue(string_value="a")),
        ({"boolValue": False}, AnyValue(bool_value=False)),
        ({"intValue": "0"}, AnyValue(int_value=0)),
        ({"intValue": -1}, AnyValue(int_value=-1)),
        ({"doubleValue": 0}, AnyValue(double_value=0.0)),
        ({"bytesValue": ""}, AnyValue(bytes_value=b"")),
        ({"stringValue": None}, AnyValue()),
        ({"unknown": {"x": 1}, "stringValue": "a"}, AnyValue(string_value="a")),
        ({"stringValue": "a", "intValue": 1}, AnyValue(int_value=1)),
        ({"intValue": 1, "stringValue": None}, AnyValue(int_value=1)),
        ({"stringValueStrindex": 4}, AnyValue()),
    ],
)
def test_attribute_values(written: Any, expected: AnyValue) -> None:
    """
    An empty value and the default of a type differ; of several values the last counts; null and unknown are absent.
    """
    assert AnyValue.FromString(values.any_value(written)) == expected


def test_arrays_and_maps() -> None:
    """
    Arrays and maps hold any values; null in an array is an empty value.
    """
    expected = AnyValue()
    items = expected.array_value.values
    items.add(int_value=1)
    items.add()
    items.add().kvlist_value.values.add(key="k").value.array_value.SetInParent()
    written = {"arrayValue": {"values": [
        {"intValue": 1}, None, {"kvlistValue": {"values": [{"key": "k", "value": {"arrayValue": {}}}, None]}}
    ]}}  # fmt: skip

    assert AnyValue.FromString(values.any_value(written)) == expected


@pytest.mark.parametrize(
    "written",
    ["a", 5, [], {"stringValue": 5}, {"stringValue": {}}, {"arrayValue": []}, {"arrayValue": {"values": {}}},
     {"arrayValue": {"values": ["a"]}}, {"kvlistValue": {"values": [{"key": 1}]}}, {"kvlistValue": {"values": ["k"]}},
     {"intValue": "x"}, {"boolValue": 1}, {"bytesValue": "?"}],
)  # fmt: skip
def test_wrong_attribute_values(written: Any) -> None:
    """
    A value of another JSON type than its key says is wrong, and the message shows nothing of it.
    """
    with pytest.raises(WrongError) as error:
        values.any_value(written)

    assert json.dumps(written) not in error.value.sentence("value")


def nested(depth: int, *, maps: bool) -> Any:
    """
    Return a text inside so many arrays or maps.
    """
    value: Any = {"stringValue": "x"}
    for _ in range(depth):
        value = (
            {"kvlistValue": {"values": [{"key": "k", "value": value}]}} if maps else {"arrayValue": {"values": [value]}}
        )
    return value


@pytest.mark.parametrize("maps", [False, True])
def test_nesting(maps: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """
    Values pass down to 128 levels, so that the kernel can judge them; deeper ones are wrong.
    """
    assert values.any_value(nested(128, maps=maps))

    with pytest.raises(WrongError) as error:
        values.any_value(nested(129, maps=maps))

    assert error.value.reason == "too_deep"
