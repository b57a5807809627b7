"""
Reason codes: why a point or claim is in quarantine, and what can be done about it. The one table; the docs are made from it.
"""

from enum import Enum
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["raw", "claim", "disputed"]


class Reason(Enum):
    """
    Code, kind (semantics.md 1) and one sentence for people.
    """

    def __init__(self, code: str, kind: Kind, text: str) -> None:
        self.code = code
        self.kind: Kind = kind
        self.text = text

    UNDECODABLE_VALUE = ("undecodable_value", "raw", "An attribute or body value has broken bytes.")
    BAD_UTF8 = ("bad_utf8", "raw", "A text in an attribute, name or body is not UTF-8.")
    TOO_DEEP = (
        "too_deep",
        "raw",
        "An attribute or body value is nested deeper than 64 levels, or than the sender may send.",
    )
    DUPLICATE_KEY = ("duplicate_key", "raw", "An attribute key that a rule reads, or a key of an event, stands twice.")
    NO_VALUE = ("no_value", "raw", "The point or usage record has no value.")
    NOT_A_NUMBER = (
        "not_a_number",
        "raw",
        "The value is NaN or infinite, or the quantity of a log or usage record is not a plain number.",
    )
    OUT_OF_RANGE = ("out_of_range", "raw", "The reading is 10^20 or larger.")
    NEGATIVE_VALUE = (
        "negative_value",
        "raw",
        "A monotonic sum, a usage record, or a quantity without allow_negative is below zero.",
    )
    TIME_MISSING = ("time_missing", "raw", "The point has no time.")
    START_AFTER_TIME = ("start_after_time", "raw", "The start of the window is after its end.")
    TIME_IN_FUTURE = ("time_in_future", "raw", "The time is further ahead than time.max_future_secs.")
    TIME_IN_PAST = ("time_in_past", "raw", "The time is further back than time.max_past_secs.")
    TEMPORALITY_UNSPECIFIED = (
        "temporality_unspecified",
        "raw",
        "The metric does not say whether it is delta or cumulative.",
    )
    HISTOGRAM_INCONSISTENT = ("histogram_inconsistent", "raw", "Bucket counts, bounds and count do not fit together.")
    NO_SUM = ("no_sum", "raw", "The rule bills the sum, and the histogram has none.")
    NEEDS_CONVERSION = ("needs_conversion", "raw", "The rule's value does not fit this type of metric.")
    SDK_CARDINALITY_OVERFLOW = (
        "sdk_cardinality_overflow",
        "raw",
        "The SDK folded attribute sets past its limit into this point.",
    )
    FORBIDDEN_CUSTOMER = ("forbidden_customer", "raw", "The sender's key may not write for this customer.")
    MISSING_IDENTITY = (
        "missing_identity",
        "raw",
        "The attribute that the rule uses as a log's identity is absent or empty.",
    )
    MISSING_IDENTITY_CUSTOMER = (
        "missing_identity_customer",
        "raw",
        "No customer, and it is part of the log's identity.",
    )
    BEYOND_DEDUPE_HORIZON = ("beyond_dedupe_horizon", "raw", "Too old to tell whether it was counted before.")
    UNDECODABLE_ITEM = ("undecodable_item", "raw", "An item of a request is not what its protocol says.")
    UNSUPPORTED_ITEM = (
        "unsupported_item",
        "raw",
        "An item of a request is right, and holds nothing that can be metered: a sketch, a set.",
    )
    NO_CUSTOMER = ("no_customer", "raw", "A usage record names no customer.")
    NO_DIMENSION = ("no_dimension", "raw", "A usage record names no dimension.")
    TOO_MANY_PLACES = ("too_many_places", "raw", "A usage record's value has more than 18 decimal places.")
    TOO_MANY_ATTRIBUTES = ("too_many_attributes", "raw", "More attributes than the sender may send.")
    KEY_TOO_LONG = ("key_too_long", "raw", "An attribute key is longer than the sender may send.")
    VALUE_TOO_LONG = ("value_too_long", "raw", "An attribute value is longer than the sender may send.")
    TOO_MANY_STREAMS = ("too_many_streams", "raw", "The sender has opened as many new streams today as it may.")
    INTERNAL_ERROR = ("internal_error", "raw", "Three attempts at this body met an unexpected error.")
    CONFLICT = ("conflict", "disputed", "The same window or identity was counted before with another value.")
    OVERLAP = ("overlap", "disputed", "The window overlaps one that was counted.")
    BEYOND_COVERAGE = ("beyond_coverage", "disputed", "The window starts before what is remembered of this stream.")
    DECREASE = ("decrease", "disputed", "A counter fell without a new start time.")
    MISSING_CUSTOMER = ("missing_customer", "claim", "The rule's customer is absent, empty or not text.")
    MISSING_DIMENSION = ("missing_dimension", "claim", "The rule's dimension is absent, empty or not text.")
    UNIT_MISMATCH = ("unit_mismatch", "claim", "The metric's unit is not the one that the rule names.")
    RULE_ERROR = ("rule_error", "claim", "The rule's `when` could not be evaluated for this point.")
    TYPE_UNKNOWN = (
        "type_unknown",
        "claim",
        "Nobody says whether this Prometheus series is a counter, and the rule does not write `value: delta`.",
    )
    AMBIGUOUS_RULES = (
        "ambiguous_rules",
        "claim",
        "Two rules bill this point to one customer and dimension without multi.",
    )
    RECORD_OUT_OF_RANGE = ("record_out_of_range", "claim", "The scaled quantity is 10^20 or larger.")


BY_CODE = {reason.code: reason for reason in Reason}
