"""
Writers of OTLP messages from JSON objects, made once from the protobuf descriptors, so that no field can be forgotten.

A writer takes the value of a JSON key and returns the bytes of the whole field. Fields come out in the order of their
numbers whatever the order of the keys, since the kernel is fastest with that; of a oneof the last key counts.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from meterline.encodings.json import Ambiguous
from meterline.encodings.otlp_json import scalars, values
from meterline.encodings.otlp_json.aside import Aside, Step
from meterline.encodings.otlp_json.wrong import WrongError, wrong_type
from meterline.protobuf.write import length_delimited, varint

Write = Callable[[Any, Aside], bytes]

_ITEMS: Final = frozenset(
    {"resource_metrics", "scope_metrics", "metrics", "data_points", "resource_logs", "scope_logs", "log_records"}
)
_ANY_VALUE: Final = "opentelemetry.proto.common.v1.AnyValue"
_KEY_VALUE: Final = "opentelemetry.proto.common.v1.KeyValue"


class Field(NamedTuple):
    """
    What a JSON key stands for. ``slot``: its place among the message's fields, one for all members of a oneof.
    """

    slot: int
    name: str
    write: Write
    leads: bool


class Message:
    """
    The writer of one message type.
    """

    def __init__(self, fields: dict[str, Field]) -> None:
        self._fields = fields
        self._leading = frozenset(key for key, field in fields.items() if field.leads)

    @property
    def leads(self) -> bool:
        """
        Say whether it contains items.
        """
        return bool(self._leading)

    def encode(self, value: Any, aside: Aside) -> bytes:
        """
        Return the message of a JSON object; unknown keys and nulls are left out. Raises WrongError.
        """
        if type(value) is not dict and (type(value) is not Ambiguous or value.own):
            raise wrong_type(value, "an object")
        parts = {}
        fields = self._fields
        for key, item in value.items():
            field = fields.get(key)
            if field is None or item is None:
                continue
            try:
                parts[field.slot] = (
                    field.write(item, aside) if not field.leads else self._into(value, field, item, aside)
                )
            except WrongError as error:
                error.path.append(field.name)
                raise
        return b"".join([parts[slot] for slot in sorted(parts)])

    def _into(self, value: Any, field: Field, item: Any, aside: Aside) -> bytes:
        above = aside.step
        aside.step = Step(above, value, field.name, self._leading)
        try:
            return field.write(item, aside)
        finally:
            aside.step = above


@cache
def message(descriptor: Descriptor) -> Message:
    """
    Return the writer of a message type.
    """
    fields = {}
    for field in descriptor.fields:
        oneof = field.containing_oneof
        slot = min(member.number for member in oneof.fields) if oneof else field.number
        leads = field.name in _ITEMS or (field.message_type is not None and _is_container(field.message_type))
        made = Field(slot, field.json_name, _writer(field), leads)
        fields[field.json_name] = fields[field.name] = made
    return Message(fields)


def _is_container(descriptor: Descriptor) -> bool:
    return any(field.name in _ITEMS for field in descriptor.fields)


def _writer(field: FieldDescriptor) -> Write:
    inner = field.message_type
    if inner is not None:
        return _message_writer(field, inner)
    write = scalars.writer(field)
    return lambda value, _: write(value)


def _message_writer(field: FieldDescriptor, descriptor: Descriptor) -> Write:
    number = field.number
    if descriptor.full_name == _ANY_VALUE:
        return lambda value, _: length_delimited(number, values.any_value(value))
    if descriptor.full_name == _KEY_VALUE:
        tag = varint(number << 3 | 2)
        return lambda value, _: values.key_values(tag, value)
    inner = message(descriptor)
    if field.name in _ITEMS:
        return _items(field, inner)
    if field.is_repeated:
        return _messages(number, inner)
    return lambda value, aside: length_delimited(number, inner.encode(value, aside))


def _messages(number: int, inner: Message) -> Write:
    def write(value: Any, aside: Aside) -> bytes:
        found = [inner.encode(item, aside) for item in values.listed(value) if item is not None]
        return b"".join([length_delimited(number, item) for item in found])

    return write


def _items(field: FieldDescriptor, inner: Message) -> Write:
    """
    Return the writer of a list whose wrong members are set aside, and cost their neighbours nothing.
    """
    tag, name, encode = varint(field.number << 3 | 2), field.json_name, inner.encode

    def write(value: Any, aside: Aside) -> bytes:
        parts: list[bytes] = []
        for item in values.listed(value):
            if item is None:
                continue
            before = aside.mark()
            try:
                payload = encode(item, aside)
            except WrongError as error:
                aside.back_to(before)
                aside.put(error, item, name)
            else:
                parts += (tag, values.sized(payload))
        return b"".join(parts)

    return write
