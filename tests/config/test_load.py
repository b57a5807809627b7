"""
A config that can be used: names, defaults, paths, and what the engine takes from it.
"""

import random
import re
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from meterline.config import Config, ConfigurationErrors, Diagnostic, load_config
from meterline.errors import ConfigurationError
from meterline.kernel.seam import MeterOptions
from meterline.ledger.model import LedgerOptions

Load = Callable[..., Config]
Errors = Callable[..., tuple[Diagnostic, ...]]

ISSUE = """\
ledger: {path: ./meterline.db}
receivers:
  otlp: {grpc: {endpoint: 127.0.0.1:4317}}          # key = plugin name, or any name with `type: otlp`
rules:
  - name: api-requests
    match: {metric: "http.server.request.count*", attributes: {http.request.method: GET}}
    customer: attributes["customer.id"]
    dimension: api-requests
    value: delta
    metadata: {route: 'attributes["http.route"]'}
  - name: calls
    match: {log: true, attributes: {event: call}}
    customer: attributes["customer.id"]
    dimension: calls
    identity: attributes["event.id"]                 # or content, or none
exporters:
  usage: {type: file, path: ./usage.ndjson}
telemetry: {metrics: {endpoint: 127.0.0.1:8888}, health: {endpoint: 127.0.0.1:13133}}
"""


def test_the_documented_config_loads(load: Load, tmp_path: Path) -> None:
    """The interface as it is fixed: every name of it, with relative paths beside the config."""
    config = load(ISSUE)

    assert config.ledger.path == tmp_path / "meterline.db"
    assert config.receivers["otlp"].type == "otlp"
    assert [rule.name for rule in config.rules] == ["api-requests", "calls"]
    assert config.exporters["usage"].path == tmp_path / "usage.ndjson"  # type: ignore[attr-defined]
    assert config.base_dir == tmp_path
    assert config.source_text == ISSUE
    assert list(map(attrgetter("name"), config.rule_set.keys())) == ["api-requests", "calls"]


def test_defaults_are_those_of_the_page(load: Load) -> None:
    """Absent sections mean the documented defaults."""
    config = load("ledger: {path: x}")

    assert config.ledger.to_options() == LedgerOptions()
    assert config.to_meter_options() == MeterOptions()
    assert (config.telemetry.metrics.endpoint, config.telemetry.health.endpoint) == (
        "127.0.0.1:8888",
        "127.0.0.1:13133",
    )
    assert (config.telemetry.metrics.enabled, config.telemetry.otlp) == (True, None)
    assert (config.shutdown_timeout_secs, config.forget) == (10.0, ())
    assert (config.receivers, config.exporters, config.rules) == ({}, {}, ())
    assert config.max_in_flight_bytes == 256 * 2**20


def test_every_number_reaches_the_engine(load: Load) -> None:
    """Seconds become nanoseconds, and each option its own place."""
    config = load(
        "ledger: {path: x, max_bytes: 1, retention_secs: 1.5, quarantine_max_bytes: 2}\n"
        "state: {idle_secs: 0.25, max_resident_streams: 3}\n"
        "dedupe: {max_ids: 4, horizon_secs: 5}\n"
        "time: {max_future_secs: 6, max_past_secs: 7, start_skew_secs: 0.000000001}\n"
        "shutdown_timeout_secs: 0\nforget: [old]\n"
    )

    assert config.ledger.to_options() == LedgerOptions(max_bytes=1, retention_ns=1_500_000_000, quarantine_max_bytes=2)
    options = config.to_meter_options()
    assert (options.idle_ns, options.max_resident_streams) == (250_000_000, 3)
    assert (options.max_dedupe_ids, options.dedupe_horizon_ns) == (4, 5 * 10**9)
    assert (options.max_future_ns, options.max_past_ns, options.start_skew_ns) == (6 * 10**9, 7 * 10**9, 1)
    assert (config.shutdown_timeout_secs, config.forget) == (0.0, ("old",))


def test_the_byte_budget_is_that_of_all_ports(load: Load) -> None:
    """Two ports have the sum of their budgets, one that receivers share has its own, and one without a port 256 MiB."""
    limits = "max_request_bytes: 1000, max_in_flight_bytes: 4000"

    def budget(*receivers: str) -> int:
        return load(f"ledger: {{path: x}}\nreceivers: {{{', '.join(receivers)}}}").max_in_flight_bytes

    grpc, http = f"grpc: {{{limits}}}", f"http: {{{limits}}}"
    other = f"grpc: {{{limits}, endpoint: '127.0.0.1:4327'}}"
    assert budget(f"a: {{type: otlp, {grpc}}}") == 4000
    assert budget(f"a: {{type: otlp, {grpc}}}", f"b: {{type: usage, {grpc}}}") == 4000
    assert budget(f"a: {{type: otlp, {grpc}}}", f"b: {{type: usage, {other}}}") == 8000
    assert budget(f"a: {{type: otlp, {grpc}, {http}}}", f"b: {{type: loki, {limits}}}") == 8000
    assert budget(f"a: {{type: otlp, {grpc}}}", "files: {include: [x]}") == 4000 + 256 * 2**20


def test_a_telemetry_address_knows_whether_it_was_written(section: Load) -> None:
    """A busy default warns and a busy written address is an error, so the config says which it is."""
    telemetry = section("telemetry: {metrics: {endpoint: 127.0.0.1:8888}}").telemetry

    assert (telemetry.metrics.written, telemetry.health.written) == (True, False)


def test_a_section_with_nothing_in_it_is_as_good_as_none(load: Load) -> None:
    """Keys without a value, as collectors have them, mean the defaults."""
    config = load(
        "ledger: {path: x}\nreceivers:\n  otlp:\n    grpc:\nrules:\nexporters:\ntelemetry:\nstate:\nforget:\n"
    )

    assert config.receivers["otlp"].grpc.endpoint == "127.0.0.1:4317"  # type: ignore[attr-defined]
    assert (config.rules, config.exporters, config.forget) == ((), {}, ())
    assert config.state.idle_secs == 86_400


def test_a_name_may_have_any_type(load: Load) -> None:
    """The key is the plugin's name, or any name with a type."""
    config = load(
        "ledger: {path: x}\nreceivers: {edge: {type: otlp, grpc: {}}}\n"
        "exporters: {file: {path: a}, second: {type: file, path: b}}\n"
    )

    assert config.receivers["edge"].type == "otlp"
    assert {name: options.type for name, options in config.exporters.items()} == {"file": "file", "second": "file"}


def test_configs_are_frozen(load: Load) -> None:
    """Nothing changes a config once it is loaded."""
    config = load(ISSUE)

    with pytest.raises(AttributeError):
        config.forget = ("x",)  # type: ignore[misc]
    with pytest.raises(ValidationError):
        config.ledger.max_bytes = 5  # type: ignore[misc]


def test_paths_are_relative_to_the_file_not_to_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path to the config still makes absolute paths inside it."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.yaml").write_text("ledger: {path: ../x.db}\nexporters: {file: {path: /abs/y}}")
    monkeypatch.chdir(tmp_path)

    config = load_config(Path("sub/m.yaml"), {})

    assert config.ledger.path.is_absolute()
    assert config.ledger.path.resolve() == tmp_path / "x.db"
    assert config.exporters["file"].path == Path("/abs/y")  # type: ignore[attr-defined]


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """No file, or a folder: one error, with a remedy."""
    for path, words in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigurationErrors, match=words) as caught:
            load_config(path, {})
        (found,) = caught.value.diagnostics
        assert (found.code, found.line) == ("ML001", 0)


def test_errors_are_one_exception_of_the_tree(errors: Errors) -> None:
    """Whoever handles ConfigurationError handles it; its text is the text for people."""
    found = errors("ledger: {path: 5}")

    error = ConfigurationErrors(found)
    assert isinstance(error, ConfigurationError)
    assert str(error) == str(found[0])


def test_a_diagnostic_as_json(errors: Errors, tmp_path: Path) -> None:
    """The keys and values that programs read."""
    (found,) = errors("ledger:\n  path: x\n  max_byts: 5\n")

    assert found.to_dict() == {
        "severity": "error",
        "code": "ML020",
        "message": "unknown key `max_byts`",
        "file": str(tmp_path / "meterline.yaml"),
        "line": 3,
        "column": 3,
        "length": 8,
        "excerpt": "  max_byts: 5",
        "label": "",
        "help": "did you mean `max_bytes`?",
        "path": "ledger.max_byts",
    }


def test_carets_stand_under_wide_characters(errors: Errors) -> None:
    """On a terminal the caret stands under its word, behind wide and combining characters and tabs too."""
    (found,) = errors('ledger: {path: "\u65e5\u672ce\u0301\t", q: 1}')

    assert str(found).splitlines()[3] == "  |" + " " * 17 + "    " + " " + "\t" + " " * 3 + "^"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("ledger:\n  path: >-\n    ${env:UNSET}\n", (2, 9), "environment variable `UNSET` is not set"),
        (
            "ledger: {path: x}\nrules: [{name: a, match: {metric: x}, customer: c, dimension: d, metadata: {'': x}}]",
            (2, 77),
            "`rules[0].metadata.` must not be empty",
        ),
        (
            "ledger: {path: x}\nrules:\n- {name: a, match: {metric: x}, customer: '${env:S}', dimension: d}",
            (3, 43),
            "reading selector",
        ),
    ],
)
def test_places_of_the_rarer_errors(errors: Errors, text: str, place: tuple[int, int], message: str) -> None:
    """Folded texts, keys of mappings, and texts that were substituted have their places too."""
    (found,) = errors(text, S="attributes[x]")

    assert (found.line, found.column) == place
    assert found.message.startswith(message)


def test_errors_stand_in_the_order_of_the_file(errors: Errors) -> None:
    """Whatever found them, they are sorted by place."""
    found = errors(
        "exporters: {a: {type: nope}}\nrules: [{name: a, match: {}, customer: c, dimension: d}]\n"
        "forget: ['${env:UNSET}']\nledger: {path: 5}\n"
    )

    assert [each.line for each in found] == [1, 2, 3, 4]


def test_no_config_however_wrong_makes_another_exception(tmp_path: Path, rng: random.Random) -> None:
    """Damaged configs: each loads or is refused with diagnostics that point into the file."""
    path = tmp_path / "m.yaml"
    pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\n",
        "  ",
        "&a ",
        "*a",
        "!x ",
        "'",
        '"',
        "${env:A}",
        "$",
        "5",
        "null",
        "é",
        "\t",
        "- ",
    ]
    refused = 0
    for _ in range(80):
        text = ISSUE
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(pieces) + text[at + rng.randint(0, 6) :]
        path.write_text(text, encoding="utf-8")
        refused += _refused(path, text)

    assert refused > 25


def _refused(path: Path, text: str) -> bool:
    found: tuple[Diagnostic, ...] = ()
    try:
        load_config(path, {"A": "b: [c"})
    except ConfigurationErrors as error:
        found = error.diagnostics
    lines = text.split("\n")
    assert all(1 <= each.line <= len(lines) + 1 for each in found), text
    return bool(found)


VALUES: list[Any] = [
    "5",
    "-1",
    "true",
    "null",
    "[]",
    "{}",
    "[1]",
    "{a: 1}",
    "text",
    "'5'",
    "1.5",
    ".inf",
    "99999999999999999999",
]


def test_no_value_in_any_place_makes_another_exception(tmp_path: Path, rng: random.Random) -> None:
    """Every value of the documented config replaced by values of every kind: refused or loaded, nothing else."""
    path = tmp_path / "m.yaml"
    spots = [
        match.span(1)
        for match in re.finditer(r"[:\[] ?([^\s{}\[\],:#]+|\{[^{}]*\})(?=[\s,}\]]|$)", ISSUE, re.MULTILINE)
    ]
    assert len(spots) > 15
    for start, end in spots:
        for value in rng.sample(VALUES, 2):
            path.write_text(ISSUE[:start] + value + ISSUE[end:], encoding="utf-8")
            _refused(path, path.read_text())
