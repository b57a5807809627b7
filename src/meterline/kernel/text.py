"""
Records as text: the parts of a line that many records share are made once.
"""

import json
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from meterline.clock import NANOS
from meterline.kernel import record_ids
from meterline.kernel.definitions import decode_charge
from meterline.quantity import AMOUNT_ONE, AMOUNT_PLACES, UNIT_FACTOR, format_units

CSV_NEWLINE: Final = "\r\n"

_TIMES_KEPT: Final = 65_536
_CHARGES_KEPT: Final = 65_536
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_BREAKS: Final = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_QUOTED: Final = frozenset(',"\r\n')


def to_json(value: object) -> str:
    """
    Return compact JSON, on one line by anybody's idea of a line: what Unicode calls a line break is escaped.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_BREAKS)


def csv_cell(text: str) -> str:
    """
    Return a text cell: RFC 4180 quotes where they are needed, and an apostrophe before what a spreadsheet would run
    (CWE-1236).
    """
    if text.startswith(_FORMULA):
        text = "'" + text
    return csv_quoted(text) if _QUOTED.intersection(text) else text


def csv_quoted(text: str) -> str:
    """
    Return the text in quotes, its own quotes doubled.
    """
    return '"' + text.replace('"', '""') + '"'


class Times(dict[int, str]):
    """
    RFC 3339 UTC with nine decimals, by nanoseconds; remembers the last 65,536, forgets all when there are more.
    """

    def __missing__(self, nanos: int) -> str:
        if len(self) >= _TIMES_KEPT:
            self.clear()
        seconds, rest = divmod(nanos, NANOS)
        text = self[nanos] = f"{_second(seconds)}.{rest:09d}Z"
        return text


@lru_cache(maxsize=4_096)
def _second(seconds: int) -> str:
    moment = time.gmtime(seconds)
    return f"{moment.tm_year:04d}-{time.strftime('%m-%dT%H:%M:%S', moment)}"


class ChargeText:
    """
    A charge as it stands in every record it makes.

    ``json_middle``: between the id and the value, ``json_tail``: between the start and the receiver; ``csv_...`` alike.
    """

    __slots__ = (
        "csv_metadata",
        "csv_middle",
        "csv_tail",
        "customer",
        "dimension",
        "factor",
        "hash",
        "json_middle",
        "json_tail",
        "key",
        "kind",
        "metadata",
        "plain",
        "rule",
        "wide_factor",
    )

    def __init__(self, encoded: bytes) -> None:
        """
        Read an encoded charge. A missing customer or dimension, of which no record is made, reads as empty.
        """
        charge = decode_charge(encoded)
        self.rule = charge.rule
        self.kind = charge.kind
        self.customer = charge.customer or ""
        self.dimension = charge.dimension or ""
        self.metadata: Mapping[str, str] = dict(charge.metadata)
        self.key = (self.rule, self.customer, self.dimension)
        self.factor = charge.factor
        self.wide_factor = charge.factor * AMOUNT_ONE
        self.plain = charge.factor == UNIT_FACTOR
        self.hash = record_ids.rule_hash(charge.rule)
        names = f'","customer_id":{to_json(self.customer)},"dimension_id":{to_json(self.dimension)}'
        self.json_middle = f'{names},"value":"'
        rule = to_json(self.rule)
        self.json_tail = (
            f',"metadata":{to_json(self.metadata)},"rule":{rule},"kind":"{self.kind}","source":{{"receiver":'
        )
        self.csv_middle = f",{csv_cell(self.customer)},{csv_cell(self.dimension)},"
        self.csv_tail = f",{csv_cell(to_json(self.metadata))},{csv_cell(self.rule)},{self.kind},"

    def units(self, amount: int, scale: int) -> int:
        """
        Return the record's value in units of 10^-30.
        """
        return amount * (self.factor if scale else self.wide_factor)

    def value(self, amount: int, scale: int) -> str:
        """
        Return the record's value as the shortest plain decimal.
        """
        if not self.plain:
            return format_units(self.units(amount, scale))
        return format_units(amount, AMOUNT_PLACES) if scale else str(amount)


class Charges(dict[bytes, ChargeText]):
    """
    The charges seen last, by their encoded bytes: many streams share one. Forgets all when there are more than 65,536.
    """

    def __missing__(self, encoded: bytes) -> ChargeText:
        if len(self) >= _CHARGES_KEPT:
            self.clear()
        found = self[encoded] = ChargeText(encoded)
        return found


class SourceText:
    """
    Receiver, principal and rule set as they stand at the end of a line, before and after the stream.
    """

    __slots__ = ("csv_after", "csv_before", "json_after", "json_before", "principal", "receiver", "rules_hash")

    def __init__(self, receiver: str, principal: str, rules_hash: str) -> None:
        self.receiver = receiver
        self.principal = principal
        self.rules_hash = rules_hash
        before = f'{to_json(receiver)},"stream":'
        after = f',"principal":{to_json(principal)},"rules_hash":{to_json(rules_hash)}}}'
        self.json_before, self.json_after = before, f"{after}}}\n"
        self.csv_before = '"' + f'{{"receiver":{before}'.replace('"', '""')
        self.csv_after = after.replace('"', '""') + '"' + CSV_NEWLINE
