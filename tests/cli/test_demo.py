"""
`meterline demo`: the main job once, and the proof at its end.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from meterline.cli.demo.producer import Tally
from meterline.cli.demo.report import Findings
from meterline.quantity import Quantity


def demo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """
    Run the demo for a second.
    """
    command = [sys.executable, "-m", "meterline", "demo", "--secs", "1", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.timeout(120)
def test_demo_proves_its_sums(tmp_path: Path) -> None:
    """It exits 0, its table equals the file's own lines, its balance balances, and it shows real records."""
    result = demo(cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = (tmp_path / "meterline-demo" / "usage.ndjson").read_text(encoding="utf-8").splitlines()
    sums: Counter[tuple[str, str]] = Counter()
    for record in map(json.loads, lines):
        sums[record["customer_id"], record["dimension_id"]] += int(record["value"])

    shown = re.findall(r"^(\w+) +([\w-]+) +(\d+) +(\d+) +\d+$", result.stdout, re.MULTILINE)
    assert {(customer, dimension): int(value) for customer, dimension, value, _ in shown} == sums
    assert all(recorded == sent for _, _, recorded, sent in shown)
    numbers = list(map(int, re.search(r"Points: (.*)", result.stdout)[1].replace("=", "+").split()[::3]))
    assert numbers[0] == sum(numbers[1:])
    assert lines[0] in result.stdout
    assert "Proved:" in result.stdout


@pytest.mark.timeout(120)
def test_demo_can_be_repeated_in_its_folder_only(tmp_path: Path) -> None:
    """A second demo replaces the first one's files; a folder with other files is refused and left as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "meterline.db").write_text("precious", encoding="utf-8")

    first = demo("--dir", "made", cwd=tmp_path)
    second = demo("--dir", "made", cwd=tmp_path)
    refused = demo("--dir", "mine", cwd=tmp_path)

    assert (first.returncode, second.returncode, refused.returncode) == (0, 0, 1), second.stdout + second.stderr
    assert (tmp_path / "mine" / "meterline.db").read_text(encoding="utf-8") == "precious"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["meterline.db"]


def findings(**changed: object) -> Findings:
    """
    Return what a good demo of one customer finds, with something changed.
    """
    line = json.dumps({"id": "a", "customer_id": "acme", "dimension_id": "calls", "value": "3"})
    balance = {"received": 5, "recorded": 1, "no_usage": 1, "duplicate": 1, "unmatched": 1, "quarantined": 1}
    good = {
        "folder": Path(),
        "sent": Tally(Counter({("acme", "calls"): 3})),
        "totals": {("acme", "calls"): (Quantity.parse("3"), 1)},
        "balance": balance,
        "lines": [line],
    }
    return Findings(**{**good, **changed})


def test_good_findings_have_no_differences() -> None:
    """All equal: nothing to say."""
    assert findings().differences() == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"totals": {("acme", "calls"): (Quantity.parse("2"), 1)}}, "the ledger has: acme/calls=2, sent: acme/calls=3"),
        ({"totals": {}}, "the ledger has"),
        ({"lines": []}, "the file has"),
        ({"lines": findings().lines[:1] * 2}, "twice in the file: a"),
        ({"balance": {**findings().balance, "received": 6}}, "do not balance"),
    ],
)
def test_differences_are_named(changed: dict[str, object], message: str) -> None:
    """Whatever is lost, doubled, invented or unbalanced is found and named: the proof can fail."""
    assert any(message in difference for difference in findings(**changed).differences())
