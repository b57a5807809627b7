"""
Generations of the rule set, and what activation must know of each rule (semantics.md 3).

A rule set that differs from the last one becomes the next generation, also when it equals an earlier one: the streams
seen in between were seen under other rules. For each rule of a generation the table keeps

- ``since``: the instant since which the rule of that name has had its present match and when, without a break;
- ``match_from_gen``: the first generation of that unbroken run;
- ``continuous_from_gen``: the first generation of the longest run up to now in which the rule was present in every
  generation and its match changed at most once. A stream that the rule matched in one of them, and matches now, was
  matched in all of them: those before the change have the match it was seen to fit, those after it have the present one.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import apsw

from meterline.generations import Generation, RuleKey


class _Run(NamedTuple):
    """
    A row of ``generation_rule``, without generation and name.
    """

    match_hash: str
    since: int
    match_from_gen: int
    continuous_from_gen: int


def activate(
    connection: apsw.Connection, rules_hash: str, keys: Sequence[RuleKey], text: str, now_ns: int
) -> Generation:
    """
    Return the generation of this rule set: the last one if it is the same, else a new one; inside the caller's transaction.
    """
    last = connection.execute("SELECT gen, rules_hash FROM generation ORDER BY gen DESC LIMIT 1").fetchone()
    gen, last_hash = last or (0, None)
    runs = _runs(connection, gen)
    if last_hash != rules_hash:
        gen += 1
        runs = {key.name: _next_run(runs.get(key.name), key.match_hash, gen, now_ns) for key in keys}
        connection.execute("INSERT INTO generation VALUES (?, ?, ?, ?)", (gen, rules_hash, now_ns, text))
        _insert(connection, gen, runs)
    return Generation(
        gen,
        {name: run.since for name, run in runs.items()},
        {name: run.continuous_from_gen for name, run in runs.items()},
    )


def _runs(connection: apsw.Connection, gen: int) -> dict[str, _Run]:
    rows = connection.execute(
        "SELECT name, match_hash, since, match_from_gen, continuous_from_gen FROM generation_rule WHERE gen = ?", (gen,)
    )
    return {row[0]: _Run(*row[1:]) for row in rows}


def _next_run(before: _Run | None, match_hash: str, gen: int, now_ns: int) -> _Run:
    if before is None:
        return _Run(match_hash, now_ns, gen, gen)
    if before.match_hash == match_hash:
        return before
    return _Run(match_hash, now_ns, gen, before.match_from_gen)


def _insert(connection: apsw.Connection, gen: int, runs: Mapping[str, _Run]) -> None:
    connection.executemany(
        "INSERT INTO generation_rule VALUES (?, ?, ?, ?, ?, ?)", [(gen, name, *run) for name, run in runs.items()]
    )
