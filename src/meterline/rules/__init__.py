"""
Rules: which points are usage, whose, of what, and how much. Pure: everything but lookup files at compile time is an argument.
"""

from meterline.generations import Generation, RuleKey
from meterline.rules.bound import BoundRules
from meterline.rules.model import LookupConfig, MatchConfig, RuleConfig
from meterline.rules.predicate import Predicate, RuleError
from meterline.rules.problems import Problem, RuleSetError
from meterline.rules.ruleset import RuleSet

__all__ = [
    "BoundRules",
    "Generation",
    "LookupConfig",
    "MatchConfig",
    "Predicate",
    "Problem",
    "RuleConfig",
    "RuleError",
    "RuleKey",
    "RuleSet",
    "RuleSetError",
]
