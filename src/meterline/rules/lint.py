"""
Rules that work, and may not mean what their author meant.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from meterline.globs import compile_glob, is_glob
from meterline.rules.conditions import compile_regex
from meterline.rules.model import Condition, Match, RuleConfig, Source
from meterline.rules.predicate import Predicate
from meterline.rules.problems import Problem, ProblemError, Where
from meterline.rules.selectors import NAMED, is_selector, is_template
from meterline.rules.suggest import closest
from meterline.rules.text import canonical_text

_SECTIONS: Final = ("resource", "scope", "attributes", "body")
_SINGLE: Final = ("metric", "unit", "type", "severity", "event_name")
_DISTRIBUTIONS: Final = frozenset({"histogram", "exponential_histogram", "summary"})


def lint_rules(rules: Sequence[RuleConfig]) -> list[Problem]:
    """
    Return warnings about rules that compile; ``where`` begins with a rule's position.
    """
    found = [problem.under(at) for at, rule in enumerate(rules) for problem in _one(rule)]
    pairs = combinations(enumerate(rules), 2)
    return found + [problem for (at, rule), (_, other) in pairs for problem in _rivals(at, rule, other)]


def _warn(where: Where, code: str, message: str, remedy: str = "") -> Problem:
    return Problem(where, code, message, help=remedy, warning=True)


def _one(rule: RuleConfig) -> Iterator[Problem]:
    yield from _sources(rule)
    yield from _conditions(rule)
    yield from _types(rule)
    if rule.identity == "none":
        words = "with `identity: none` a log line that is sent again after an hour, or in another request, counts twice"
        yield _warn(
            ("identity",), "ML102", words, 'name an attribute that is unique: `identity: attributes["event.id"]`'
        )
    if rule.when is not None:
        yield from _unguarded(rule, rule.when)


def matches(rule: RuleConfig) -> Iterator[tuple[Where, Match]]:
    """
    Yield every condition of a rule's match with the way to it.
    """
    for key in _SINGLE:
        wanted = getattr(rule.match, key)
        if wanted is not None:
            yield ("match", key), wanted
    for section in _SECTIONS:
        for key, wanted in getattr(rule.match, section).items():
            yield ("match", section, key), wanted


def _sources(rule: RuleConfig) -> Iterator[Problem]:
    entries: list[tuple[Where, Source]] = [(("customer",), rule.customer), (("dimension",), rule.dimension)]
    entries += [(("metadata", key), source) for key, source in rule.metadata.items()]
    for where, source in entries:
        if isinstance(source, str) and not is_selector(source) and not is_template(source):
            yield from _literal(where, source)


def _literal(where: Where, text: str) -> Iterator[Problem]:
    close = closest(text, NAMED, cutoff=0.8)
    if close is not None:
        yield _warn(where, "ML105", f"`{text}` is literal text", f"did you mean the selector `{close}`?")
    elif where == ("customer",):
        words = f"every point is billed to the one customer `{text}`"
        yield _warn(where, "ML105", words, 'write a selector such as attributes["customer.id"], if customers differ')


def _conditions(rule: RuleConfig) -> Iterator[Problem]:
    for where, wanted in matches(rule):
        if isinstance(wanted, Condition):
            yield from _condition(where, wanted)
        elif isinstance(wanted, tuple) and not wanted:
            yield _warn(where, "ML106", "the list is empty: the rule never matches", "name at least one value")


def _condition(where: Where, wanted: Condition) -> Iterator[Problem]:
    if wanted.regex is not None and _matches_empty(wanted.regex):
        words = f"the regular expression `{wanted.regex}` is found in every text, the empty one too"
        yield _warn((*where, "regex"), "ML103", words, "anchor it with ^ and $, or write `exists: true`")
    if wanted.in_ is not None and not wanted.in_:
        yield _warn((*where, "in"), "ML106", "the list is empty: the rule never matches", "name at least one value")
    if _empty_range(wanted):
        yield _warn(where, "ML106", "no number is in this range: the rule never matches", "check the bounds")


def _matches_empty(pattern: str) -> bool:
    try:
        return compile_regex(pattern)("")
    except ProblemError:
        return False


def _empty_range(wanted: Condition) -> bool:
    lows = [bound for bound in (wanted.gte, wanted.gt) if bound is not None]
    highs = [bound for bound in (wanted.lte, wanted.lt) if bound is not None]
    if not lows or not highs:
        return False
    low, high = max(lows), min(highs)
    return low > high or (low == high and (wanted.gt == low or wanted.lt == high))


def _types(rule: RuleConfig) -> Iterator[Problem]:
    wanted = rule.match.type
    names = {wanted} if isinstance(wanted, str) else set(wanted) if isinstance(wanted, tuple) else set()
    value = rule.value or "delta"
    if names and names <= {"gauge"}:
        words = "a gauge is a reading, not an increment: every point will be quarantined as needs_conversion"
        yield _warn(("match", "type"), "ML104", words, "bill a counter instead")
    elif names and value == "delta" and names <= _DISTRIBUTIONS:
        words = "`value: delta` fits sums only: every point will be quarantined as needs_conversion"
        yield _warn(("match", "type"), "ML104", words, "write `value: count` or `value: sum`")
    elif names and value in ("count", "sum") and not names & _DISTRIBUTIONS:
        yield _warn(("value",), "ML104", f"`value: {value}` fits histograms and summaries only", "write `value: delta`")
    unit = rule.match.unit
    if rule.unit is not None and isinstance(unit, str) and not is_glob(unit) and unit != rule.unit:
        words = f"the rule matches unit `{unit}` only, and quarantines every unit but `{rule.unit}`"
        yield _warn(("unit",), "ML104", words, "write the unit once")


def _unguarded(rule: RuleConfig, source: str) -> Iterator[Problem]:
    try:
        reads = Predicate(source, log=rule.match.log is True).reads
    except ProblemError:
        return
    for variable, key in sorted(reads.keys - reads.guarded):
        known: Mapping[str, Match] = getattr(rule.match, variable, None) or {}
        wanted = known.get(key) if variable in _SECTIONS else ""
        if wanted is None or (isinstance(wanted, Condition) and wanted.exists is False):
            words = f'a point without {variable}["{key}"] will be quarantined as rule_error'
            remedy = (
                f'write `"{key}" in {variable} && ...`, or say `{variable}: {{"{key}": {{exists: true}}}}` in match'
            )
            yield _warn(("when",), "ML109", words, remedy)


def _rivals(at: int, rule: RuleConfig, other: RuleConfig) -> Iterator[Problem]:
    """
    Warn of two rules that may bill one point twice to one dimension, as far as that can be known before.
    """
    if (rule.multi and other.multi) or rule.when is not None or other.when is not None:
        return
    same = rule.dimension == other.dimension and _same_customer(rule.customer, other.customer)
    if same and not _disjoint(rule, other):
        words = (
            f"rules `{rule.name}` and `{other.name}` may bill one point to the same dimension; it would be quarantined"
        )
        remedy = "make their `match` differ, or say `multi: true` in both"
        yield _warn((at, "dimension"), "ML101", words, remedy)


def _same_customer(one: Source, other: Source) -> bool:
    """
    Say whether they may come to one customer; two literals that differ cannot.
    """
    literals = [
        isinstance(source, str) and not is_selector(source) and not is_template(source) for source in (one, other)
    ]
    return not all(literals) or one == other


def _disjoint(rule: RuleConfig, other: RuleConfig) -> bool:
    """
    Say whether no point can match both: some value would have to be two things at once.
    """
    if rule.match.log != other.match.log:
        return True
    theirs = dict(matches(other))
    return any(where in theirs and _apart(wanted, theirs[where]) for where, wanted in matches(rule))


def _apart(one: Match, other: Match) -> bool:
    ones, others = _texts(one), _texts(other)
    return ones is not None and others is not None and not any(_meet(a, b) for a in ones for b in others)


def _meet(one: str, other: str) -> bool:
    if is_glob(one) and is_glob(other):
        return True  # two globs may share a text
    return compile_glob(one)(other) or compile_glob(other)(one)


def _texts(wanted: Match) -> list[str] | None:
    """
    Return the texts and globs that a match accepts, None when it is not a list of these.
    """
    if isinstance(wanted, Condition):
        if wanted.equals is not None and not is_glob(str(wanted.equals)):
            return [canonical_text(wanted.equals) or ""]
        if wanted.in_ is not None:
            return _texts(wanted.in_)
        return None if wanted.glob is None else [wanted.glob]
    return [canonical_text(scalar) or "" for scalar in (wanted if isinstance(wanted, tuple) else (wanted,))]
