"""
From a rule's config to a compiled rule; everything that is wrong with it is found in one go.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from meterline.kernel.seam import Fields, LogIdentity, Path, PointType, Track
from meterline.quantity import AMOUNT_LIMIT, AMOUNT_ONE, AMOUNT_PLACES, UNIT_FACTOR, Amount
from meterline.rules.compiled import Clause, CompiledRule
from meterline.rules.conditions import compile_match
from meterline.rules.model import Condition, Match, MatchConfig, RuleConfig
from meterline.rules.problems import Problem, ProblemError, Where
from meterline.rules.selectors import Reader, Selector, dig, is_selector, parse_selector
from meterline.rules.sources import Resolved, SourceCompiler, Tables, refuse_selector
from meterline.rules.suggest import did_you_mean
from meterline.rules.text import canonical_text, identifier_text, metadata_text
from meterline.rules.when import When, compile_when
from meterline.times import parse_rfc3339

TRACKS: Final = {"delta": Track.NUMBER, "count": Track.COUNT, "sum": Track.SUM}
TYPES: Final = tuple(kind.value for kind in PointType if kind is not PointType.LOG)
_SCALE_PLACES: Final = 12
_METRIC_ONLY: Final = ("unit", "type")
_LOG_ONLY: Final = ("body", "severity", "event_name")


class RuleCompiler:
    """
    Compiles one rule. ``problems``: what is wrong with it, ``where`` relative to the rule.
    """

    def __init__(self, rule: RuleConfig, tables: Tables) -> None:
        self._rule = rule
        self._tables = tables
        self._log = rule.match.log is True
        self._json = rule.parse_body == "json"
        self.problems: list[Problem] = []

    def compile(self) -> CompiledRule | None:
        """
        Return the compiled rule, None when there are problems other than warnings.
        """
        rule = self._rule
        self._check_kind()
        constant, varying, paths = self._clauses(rule.match)
        customer, dimension = self._source(rule.customer, "customer"), self._source(rule.dimension, "dimension")
        metadata = tuple((key, self._metadata(source, key)) for key, source in rule.metadata.items())
        when = self._when()
        sources = (customer, dimension, *(source for _, source in metadata))
        compiled = CompiledRule(
            name=rule.name,
            log=self._log,
            names=_exact_names(rule.match.metric),
            constant=constant,
            varying=varying,
            when=when,
            customer=customer,
            dimension=dimension,
            metadata=metadata,
            fields=_union(paths, sources, when),
            **self._options(),
        )
        return None if any(not problem.warning for problem in self.problems) else compiled

    def _options(self) -> dict[str, Any]:
        """
        Return what needs no more than reading.
        """
        return {
            "unit": self._rule.unit,
            "identity": self._identity(),
            "factor": self._factor(),
            "active_from": self._active_from(),
            "ignore_missing": self._rule.on_missing_customer == "ignore",
            "allow_negative": self._rule.allow_negative,
            "explicit": self._rule.value is not None,
            "multi": self._rule.multi,
            **self._value(),
        }

    def _refuse(self, where: Where, code: str, message: str, label: str = "", remedy: str = "") -> None:
        self.problems.append(Problem(where, code, message, label, remedy))

    def _check_kind(self) -> None:
        match = self._rule.match
        if match.metric is None and not self._log:
            remedy = 'write `metric: "name"` (`"*"` for every metric) or `log: true`'
            self._refuse(("match",), "ML047", "reading match: it names neither a metric nor logs", "", remedy)
        if match.metric is not None and self._log:
            self._refuse(("match", "log"), "ML047", "reading match: a rule is about a metric or about logs, not both")
        kind, foreign = ("logs have", _METRIC_ONLY) if self._log else ("metric points have", _LOG_ONLY)
        for key in foreign:
            if getattr(match, key) not in (None, {}):
                self._refuse(("match", key), "ML047", f"reading match: {kind} no {key.replace('_', ' ')}")
        if self._log and self._rule.unit is not None:
            self._refuse(("unit",), "ML047", "reading unit: logs have no unit", "", "delete it")
        if not self._log and self._rule.parse_body is not None:
            self._refuse(("parse_body",), "ML047", "reading parse_body: metric points have no body", "", "delete it")

    def _clauses(self, match: MatchConfig) -> tuple[tuple[Clause, ...], tuple[Clause, ...], list[Path]]:
        constant = [clause for where, read, wanted in _constants(match) for clause in self._clause(where, read, wanted)]
        varying: list[Clause] = []
        paths: list[Path] = []
        for where, path, wanted in self._point_values(match):
            varying += self._clause(where, _path_reader(path), wanted)
            paths.append(path)
        self._check_types(match.type)
        return tuple(constant), tuple(varying), paths

    def _clause(self, where: Where, read: Reader, wanted: Match) -> Iterator[Clause]:
        try:
            yield read, compile_match(wanted)
        except ProblemError as error:
            self.problems.append(error.problem.under("match", *where))

    def _point_values(self, match: MatchConfig) -> Iterator[tuple[Where, Path, Match]]:
        for key, wanted in match.attributes.items():
            yield ("attributes", key), ("attributes", key), wanted
        for key, wanted in match.body.items():
            selector = self._body_selector(key)
            if selector is not None:
                yield ("body", key), selector.keys, wanted
        if match.severity is not None:
            yield ("severity",), ("severity",), match.severity
        if match.event_name is not None:
            yield ("event_name",), ("event_name",), match.event_name

    def _body_selector(self, key: str) -> Selector | None:
        try:
            return parse_selector(f"body.{key}", json_body=self._json)
        except ProblemError as error:
            self._refuse(("match", "body", key), "ML041", f"reading body field `{key}`", error.problem.label)
            return None

    def _check_types(self, wanted: Match | None) -> None:
        names = wanted if isinstance(wanted, tuple) else (wanted,)
        for position, name in enumerate(names):
            if isinstance(name, Condition) or name is None or name in TYPES or "*" in str(name):
                continue
            where: Where = ("match", "type", position) if isinstance(wanted, tuple) else ("match", "type")
            self._refuse(where, "ML023", f"reading type: no metric type `{name}`", "", did_you_mean(str(name), TYPES))

    def _source(self, source: Any, key: str) -> Resolved:
        return SourceCompiler(identifier_text, self._tables, self._log, self._json, self.problems).compile(source, key)

    def _metadata(self, source: Any, key: str) -> Resolved:
        compiler = SourceCompiler(metadata_text, self._tables, self._log, self._json, self.problems)
        return compiler.compile(source, "metadata", key)

    def _when(self) -> When | None:
        if self._rule.when is None:
            return None
        try:
            return compile_when(self._rule.when, log=self._log, json_body=self._json)
        except ProblemError as error:
            self.problems.append(error.problem.under("when"))
            return None

    def _identity(self) -> Path | LogIdentity | None:
        written = self._rule.identity
        if not self._log:
            if written is not None:
                self._refuse(("identity",), "ML048", "reading identity: it is for log rules", "", "delete it")
            return None
        if written is None:
            remedy = 'write `identity: attributes["event.id"]`, `identity: content` or `identity: none`'
            self._refuse((), "ML048", "a log rule must say how two equal log lines are told apart", "", remedy)
            return LogIdentity.CONTENT
        if written in {"content", "none"}:
            return LogIdentity(written)
        return self._data_path("identity", "ML048", written, "a selector, content or none")

    def _value(self) -> dict[str, Any]:
        written = self._rule.value
        if not self._log:
            return {"track": self._metric_track(written)}
        found: dict[str, Any] = {"track": Track.EVENT}
        if isinstance(written, str):
            found["value"] = self._data_path("value", "ML049", written, "a selector or a number")
        elif written is not None:
            found["literal"] = self._literal(written)
        return found

    def _metric_track(self, written: Decimal | str | None) -> Track:
        track = TRACKS.get(written) if isinstance(written, str) else None
        if written is not None and track is None:
            words = f"reading value `{written}`: for metrics it is delta, count or sum"
            remedy = did_you_mean(str(written), TRACKS) if isinstance(written, str) else "a fixed factor is a `scale`"
            self._refuse(("value",), "ML049", words, "", remedy)
        return track or Track.NUMBER

    def _data_path(self, key: str, code: str, written: str, expected: str) -> Path | None:
        """
        Return the path of a value that the kernel reads of every record: it must stand in the record itself.
        """
        if not is_selector(written):
            self._refuse((key,), code, f"reading {key} `{written}`", f"expected {expected}", _wrap_hint(written))
            return None
        try:
            selector = parse_selector(written, json_body=self._json)
            refuse_selector(selector, log=self._log)
        except ProblemError as error:
            self.problems.append(error.problem.under(key))
            return None
        if selector.root not in {"attributes", "body"}:
            remedy = "read it from attributes or body"
            self._refuse((key,), code, f"reading {key} `{written}`: it is the same for many log records", "", remedy)
        return selector.path

    def _literal(self, number: Decimal) -> Amount:
        amount = _scaled(number, AMOUNT_PLACES)
        if amount is None or not 0 < abs(amount) < AMOUNT_LIMIT:
            words = f"reading value {number}: it must not be 0, be below 10^20, and have at most {AMOUNT_PLACES} decimal places"
            self._refuse(("value",), "ML049", words)
            return AMOUNT_ONE
        if amount < 0 and not self._rule.allow_negative:
            self._refuse(("value",), "ML049", f"reading value {number}: below zero", "", "say `allow_negative: true`")
        return amount

    def _factor(self) -> int:
        scale = self._rule.scale
        factor = _scaled(scale, _SCALE_PLACES)
        if factor is None or not 0 < factor < 10 ** (20 + _SCALE_PLACES):
            words = f"reading scale {scale}: it must be above 0, below 10^20, and have at most {_SCALE_PLACES} decimal places"
            self._refuse(("scale",), "ML050", words)
            return UNIT_FACTOR
        return factor

    def _active_from(self) -> int | None:
        if self._rule.active_from is None:
            return None
        try:
            return parse_rfc3339(self._rule.active_from)
        except ValueError as error:
            self._refuse(("active_from",), "ML050", str(error))
            return None


def _scaled(number: Decimal, places: int) -> int | None:
    if not number.is_finite() or not -places <= number.adjusted() < 40 + places:
        return None if number else 0
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - finite
    whole: int = int("".join(map(str, digits))) * (-1 if number.is_signed() else 1)
    shift = exponent + places
    if shift >= 0:
        return whole * int(10**shift)
    scaled, rest = divmod(whole, 10**-shift)
    return None if rest else scaled


def _wrap_hint(written: str) -> str:
    return f'write attributes["{written}"]' if written.replace(".", "").replace("_", "").isalnum() else ""


def _path_reader(path: Path) -> Reader:
    return lambda view: view.read(path)


def _constants(match: MatchConfig) -> Iterator[tuple[Where, Reader, Match]]:
    if match.metric is not None:
        yield ("metric",), lambda view: view.context.name, match.metric
    if match.unit is not None:
        yield ("unit",), lambda view: view.context.unit, match.unit
    if match.type is not None:
        yield ("type",), lambda view: view.context.type.value, match.type
    for key, wanted in match.resource.items():
        yield ("resource", key), _resource_value(key), wanted
    for key, wanted in match.scope.items():
        yield ("scope", key), _scope_value(key), wanted


def _resource_value(key: str) -> Reader:
    return lambda view: dig(view.context.resource, (key,))


def _scope_value(key: str) -> Reader:
    if key == "name":
        return lambda view: view.context.scope_name
    if key == "version":
        return lambda view: view.context.scope_version
    return lambda view: dig(view.context.scope, (key,))


def _exact_names(wanted: Match | None) -> frozenset[str] | None:
    if wanted is None or isinstance(wanted, Condition):
        return None
    texts = [canonical_text(scalar) or "" for scalar in (wanted if isinstance(wanted, tuple) else (wanted,))]
    return None if any("*" in text or "?" in text for text in texts) else frozenset(texts)


def _union(paths: list[Path], sources: tuple[Resolved, ...], when: When | None) -> tuple[Path, ...] | Fields:
    if when is not None and isinstance(when.fields, Fields):
        return when.fields
    found: Mapping[Path, None] = dict.fromkeys(
        [
            *paths,
            *(path for source in sources for selector in source.selectors if (path := selector.path) is not None),
            *(when.fields if when is not None and not isinstance(when.fields, Fields) else ()),
        ]
    )
    return tuple(found)
