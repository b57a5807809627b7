"""
What stands in the ``rules`` section: one frozen model a rule, unknown keys forbidden. Meanings: docs/rules.md.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag, WithJsonSchema

from meterline.api.config import PluginConfig, RelativePath

Scalar: TypeAlias = bool | int | float | str
"""A value to compare with; it is compared by its canonical text."""

Text: TypeAlias = Annotated[str, StringConstraints(min_length=1)]


def _form(value: Any) -> str:
    if isinstance(value, Mapping | PluginConfig):
        return "mapping"
    return "list" if isinstance(value, list | tuple) else "scalar"


class Condition(PluginConfig):
    """
    Conditions on one value; all that are written must hold.
    """

    model_config = ConfigDict(populate_by_name=True)

    equals: Scalar | None = Field(
        default=None, description="Equal by canonical text; `*` and `?` are plain characters."
    )
    in_: tuple[Scalar, ...] | None = Field(
        default=None, alias="in", description="One of these; a text with `*` or `?` is a glob."
    )
    glob: Text | None = Field(
        default=None, description="A glob over the whole text: `*` any run of characters, `?` any one."
    )
    regex: Text | None = Field(default=None, description="An RE2 regular expression, found anywhere in the text.")
    exists: bool | None = Field(default=None, description="Whether the attribute is there at all.")
    gte: Decimal | None = Field(default=None, description="A number, at least this; compared exactly.")
    gt: Decimal | None = Field(default=None, description="A number above this.")
    lte: Decimal | None = Field(default=None, description="A number, at most this.")
    lt: Decimal | None = Field(default=None, description="A number below this.")


Match: TypeAlias = Annotated[
    Annotated[Scalar, Tag("scalar")]
    | Annotated[tuple[Scalar, ...], Tag("list")]
    | Annotated[Condition, Tag("mapping")],
    Discriminator(_form),
]
"""A scalar (equals; with `*` or `?` a glob), a list (one of these), or a mapping of conditions."""


class MatchConfig(PluginConfig):
    """
    Which points a rule is about; all that is written must hold. `metric` or `log` must be there.
    """

    metric: Match | None = Field(default=None, description="The metric's name.")
    log: Literal[True] | None = Field(default=None, description="The rule is about log records.")
    unit: Match | None = Field(default=None, description="The metric's unit; a point with another one does not match.")
    type: Match | None = Field(default=None, description="gauge, sum, histogram, exponential_histogram or summary.")
    resource: Mapping[str, Match] = Field(default_factory=dict, description="Resource attributes.")
    scope: Mapping[str, Match] = Field(
        default_factory=dict, description="Scope attributes; `name` and `version` are the scope's own."
    )
    attributes: Mapping[str, Match] = Field(default_factory=dict, description="Attributes of the point or log record.")
    body: Mapping[str, Match] = Field(
        default_factory=dict, description="Fields of a log's body, `a.b` for nested ones; `parse_body` for JSON texts."
    )
    severity: Match | None = Field(default=None, description="A log's severity text, or the name of its number.")
    event_name: Match | None = Field(default=None, description="A log's event name.")


class LookupConfig(PluginConfig):
    """
    A table in a file beside the config, read at start.
    """

    file: RelativePath = Field(description="A .csv file with a header, or a .yaml (.yml, .json) mapping.")
    key: Text = Field(description="What is looked up: a selector or template.")
    key_column: Text | None = Field(default=None, description="CSV: the column of keys; by default the first.")
    value_column: Text | None = Field(
        default=None, description="The column (CSV; by default the second) or field (YAML) that is the answer."
    )
    default: Text | None = Field(
        default=None, description="A literal, selector or template for what the table does not have; absent: missing."
    )


class LookupSource(PluginConfig):
    """
    A value that is looked up.
    """

    lookup: LookupConfig


Single: TypeAlias = Annotated[
    Annotated[Text, Tag("scalar")] | Annotated[LookupSource, Tag("mapping")],
    Discriminator(lambda value: "mapping" if _form(value) == "mapping" else "scalar"),
]
Several: TypeAlias = Annotated[tuple[Single, ...], Field(min_length=1)]
Source: TypeAlias = Annotated[
    Annotated[Text, Tag("scalar")] | Annotated[Several, Tag("list")] | Annotated[LookupSource, Tag("mapping")],
    Discriminator(_form),
]
"""A literal, a selector, a template, a lookup, or a list of these: the first that is there."""

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")

Value: TypeAlias = Annotated[
    Annotated[Decimal, Tag("number"), WithJsonSchema({"type": "number"})] | Annotated[Text, Tag("text")],
    Discriminator(lambda value: "text" if isinstance(value, str) and not _NUMBER.fullmatch(value) else "number"),
]


class RuleConfig(PluginConfig):
    """
    One rule: which points are usage, whose, of what, and how much.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")] = Field(
        description="Unique, and not `manual`; part of every record id, so a renamed rule makes new records."
    )
    match: MatchConfig
    when: Text | None = Field(default=None, description="A condition in CEL, for what `match` cannot say.")
    customer: Source = Field(description="Whose usage it is: literal, selector, template, lookup, or a list of these.")
    dimension: Source = Field(description="What was used: literal, selector, template, lookup, or a list of these.")
    value: Value | None = Field(
        default=None,
        description="Metrics: delta (default), count or sum. Logs: a selector or a number (default 1).",
    )
    unit: str | None = Field(default=None, description="The metric's unit; a point with another one is quarantined.")
    scale: Decimal = Field(default=Decimal(1), description="An exact factor of at most 12 decimal places.")
    metadata: Mapping[Text, Source] = Field(
        default_factory=dict, description="Texts that go with the record; absent ones are left out."
    )
    on_missing_customer: Literal["quarantine", "ignore"] = Field(
        default="quarantine", description="What becomes of a point without a customer."
    )
    allow_negative: bool = Field(default=False, description="Take quantities below zero, and non-monotonic delta sums.")
    multi: bool = Field(
        default=False, description="Other rules may bill the same point to the same customer and dimension."
    )
    active_from: str | None = Field(default=None, description="RFC 3339: usage before it is not counted.")
    identity: Text | None = Field(
        default=None, description="Logs: how two equal ones are told apart: a selector, content, or none."
    )
    parse_body: Literal["json"] | None = Field(default=None, description="Read a log's text body as JSON.")


def lookup_files(rule: RuleConfig) -> tuple[Path, ...]:
    """
    Return the files that this rule looks up in, each once.
    """
    found = {source.lookup.file: None for source in _lookups(rule)}
    return tuple(found)


def _lookups(rule: RuleConfig) -> list[LookupSource]:
    sources = [rule.customer, rule.dimension, *rule.metadata.values()]
    flat = [part for source in sources for part in (source if isinstance(source, tuple) else (source,))]
    return [part for part in flat if isinstance(part, LookupSource)]
