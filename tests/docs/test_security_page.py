"""
``docs/security.md``: every statement of its tables names a test, and each of those exists.
"""

import ast
import itertools
import re
from pathlib import Path

from meterline.telemetry.table import METRICS

TEST = re.compile(r"`(tests/[\w/.]+\.py)::(test_\w+)`")


def rows(root: Path) -> list[str]:
    """
    Return the rows of the page's tables, without their heads.
    """
    lines = (root / "docs" / "security.md").read_text("utf-8").splitlines()
    return [
        line
        for above, line in itertools.pairwise(lines)
        if line.startswith("| ") and above.startswith("|") and not line.startswith("|---")
    ]


def test_every_statement_names_a_test(root: Path) -> None:
    """A row without a test is a promise that nobody checks."""
    assert len(rows(root)) > 50
    assert [row for row in rows(root) if not TEST.search(row)] == []


def test_the_tests_that_are_named_exist(root: Path) -> None:
    """Each is a function of that name in that file."""
    named = {pair for row in rows(root) for pair in TEST.findall(row)}
    missing = []
    for file, name in sorted(named):
        path = root / file
        tree = ast.parse(path.read_text("utf-8")) if path.exists() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(f"{file}::{name}")

    assert missing == []
    assert len(named) > 50


def test_no_metric_is_labelled_by_senders() -> None:
    """Labels come from the config and from fixed sets: no sender can make more of them."""
    labels = {label for metric in METRICS for label in metric.labels}

    assert not labels & {"customer", "tenant", "principal", "dimension", "peer"}
    assert "receiver" in labels
