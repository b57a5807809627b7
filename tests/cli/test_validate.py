"""
`meterline validate`: every finding with its place, what is promised, and the exit code.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meterline.cli import main
from meterline.cli.validate import contract_words, memory_words

GOOD = """\
ledger: {path: ./meterline.db}
receivers: {otlp: {grpc: {endpoint: 127.0.0.1:4317}}}
rules:
  - name: calls
    match: {log: true, attributes: {event: call}}
    customer: attributes["customer.id"]
    dimension: calls
    identity: attributes["event.id"]
exporters:
  usage: {type: file, path: ./usage.ndjson}
  copy: {type: http, endpoint: "https://example.invalid/usage", on_unknown: hold}
"""
BAD = """\
ledger: {paht: ./meterline.db}
receivers: {otpl: {grpc: {endpoint: 127.0.0.1:4317}}}
rules:
  - name: calls
    match: {log: true}
    customer: resources["customer.id"]
    dimension: calls
"""


@pytest.fixture
def validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """
    Validate a text as meterline.yaml of the working directory.
    """
    monkeypatch.chdir(tmp_path)

    def run(text: str, *options: str) -> Result:
        Path("meterline.yaml").write_text(text, encoding="utf-8")
        return CliRunner().invoke(main, ["validate", "meterline.yaml", *options])

    return run


def test_good(validate: Callable[..., Result], golden: Callable[[str, str], None]) -> None:
    """A good config: what bounds memory, what each exporter promises, ok, exit code 0; and nothing is started."""
    result = validate(GOOD)

    assert result.exit_code == 0, result.output
    golden("validate-good.txt", result.output)
    assert [path.name for path in Path().iterdir()] == ["meterline.yaml"]


def test_bad(validate: Callable[..., Result], golden: Callable[[str, str], None]) -> None:
    """A bad config: all its errors, each with line and caret, in the order of the file; exit code 78."""
    result = validate(BAD)

    assert result.exit_code == 78
    golden("validate-bad.txt", result.output)


def test_findings(validate: Callable[..., Result], golden: Callable[[str, str], None]) -> None:
    """What works and may not be meant is a warning: exit code 1."""
    result = validate(GOOD.replace('attributes["event.id"]', "none"))

    assert result.exit_code == 1
    golden("validate-findings.txt", result.output)


def test_json(validate: Callable[..., Result]) -> None:
    """The same as one JSON object, for both."""
    good, bad = validate(GOOD, "--json"), validate(BAD, "--json")
    promised, wrong = json.loads(good.stdout), json.loads(bad.stdout)

    assert (good.exit_code, promised["ok"], promised["diagnostics"]) == (0, True, [])
    assert promised["exporters"]["copy"]["on_unknown"] == "hold"
    assert promised["receivers"]["otlp.grpc"]["max_connections"] == 1024
    assert (bad.exit_code, wrong["ok"]) == (78, False)
    assert [finding["line"] for finding in wrong["diagnostics"]] == sorted(f["line"] for f in wrong["diagnostics"])
    assert {"severity", "code", "message", "file", "line", "column", "help"} <= set(wrong["diagnostics"][0])


def test_a_missing_file(validate: Callable[..., Result]) -> None:
    """A config that is not there: 78, with its name and the way to one."""
    result = CliRunner().invoke(main, ["validate", "nothing.yaml"])

    assert result.exit_code == 78
    assert "nothing.yaml" in result.output
    assert "meterline init" in result.output


def test_secrets_are_not_shown(validate: Callable[..., Result]) -> None:
    """Neither the text nor the JSON has a token of the config, wherever in the file the mistake is."""
    canary = "canary-5f3a"
    text = GOOD.replace(
        "{endpoint: 127.0.0.1:4317}", f'{{endpoint: "x", auth: {{keys: [{{name: a, token: {canary}, oops: 1}}]}}}}'
    )
    for option in ((), ("--json",)):
        result = validate(text, *option)
        assert result.exit_code == 78
        assert canary not in result.output


def test_hostile_text_in_a_config_is_escaped(validate: Callable[..., Result]) -> None:
    """An excerpt of a config cannot act on the terminal."""
    result = validate(GOOD.replace("name: calls", "name: calls\u202e\u009b2J\n    oops: 1"))

    assert result.exit_code == 78
    assert "\u202e" not in result.output
    assert "\u009b" not in result.output


def test_memory_words() -> None:
    """The bound is the product of the three limits, in words."""
    bounds = {
        "max_in_flight_bytes": 2**28,
        "max_connections": 1024,
        "max_concurrent_streams": 128,
        "max_request_bytes": 2**26,
    }

    assert memory_words(bounds).endswith("at most 8 TiB (1024 connections x 128 requests x 64 MiB)")


def test_contract_words() -> None:
    """Every part of a contract has its words."""
    contract = {
        "type": "x", "value_type": "decimal string", "never_unknown": False, "on_unknown": "hold", "dedupe_key": "id",
        "dedupe_window_secs": 86400.0, "max_records": 25, "max_bytes": None, "oldest_secs": 3600.0, "newest_secs": None,
        "per_record_results": True, "rejects_later": True,
    }  # fmt: skip

    assert contract_words(contract) == (
        "x, value as decimal string; a send without an answer is held for a person; dedupes on id for 86400 s;"
        " at most 25 records a send; refuses what is older than 3600 s; says what became of each record; may reject later"
    )
