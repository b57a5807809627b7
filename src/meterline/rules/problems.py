"""
What is wrong with a rule, said so that the config can point at it: where in the rule, where in the text, and the remedy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from meterline.errors import ConfigurationError

Where: TypeAlias = tuple[str | int, ...]
"""The way to a value of the config: ``("rules", 0, "match", "attributes", "http.route")``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One finding. ``offset`` and ``length`` are characters inside the text at ``where``; length 0 means all of it.

    ``label`` stands beside the caret, ``help`` on a line of its own. ``warning``: the rule works, and may not mean this.
    """

    where: Where
    code: str
    message: str
    label: str = ""
    help: str = ""
    offset: int = 0
    length: int = 0
    warning: bool = False

    def under(self, *prefix: str | int) -> "Problem":
        """
        Return the same problem, seen from further out.
        """
        return replace(self, where=(*prefix, *self.where))


class ProblemError(ConfigurationError):
    """
    A text of a rule cannot be read; carries the problem, with ``where`` still relative to that text.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class RuleSetError(ConfigurationError):
    """
    Rules that cannot be used; ``problems`` has all of them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{_way(problem.where)}: {problem.message}" for problem in problems))
        self.problems = tuple(problems)


def _way(where: Where) -> str:
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return "".join(parts).lstrip(".")
