"""
``meterline doctor agents``: each way in which an agent's config can spoil the sum is found, and nothing else is.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from meterline.cli import main
from meterline.doctor.block_tree import alloy_tree, fluent_bit_tree, logstash_tree
from meterline.doctor.yaml_tree import toml_tree, yaml_tree
from meterline.errors import ConfigurationError

DATA = Path(__file__).parent / "testdata"
GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(path.name for path in DATA.iterdir())


TOML = '''a = """
b = 1
"""
[t]
x.y = 1
[[t.list]]
z = 1
[[t.list]]
z = 2
[u]
in = { line = 1 }
text = """
[v]
later = 0
"""
later = ["""a""", 'b"""'] # """
last = 1
'''


def doctor(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["doctor", "agents", *arguments])


@pytest.mark.parametrize("name", FILES)
def test_findings_of_a_config(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The findings of each config, with their lines, reasons and settings, are what the golden file says."""
    monkeypatch.chdir(DATA)
    result = doctor(name)
    assert result.output == (GOLDEN / f"{name}.txt").read_text("utf-8")
    assert result.exit_code == (0 if "nothing that can" in result.output else 1)


def test_json_has_every_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json each finding is one object a line, with the file, the line and all texts."""
    monkeypatch.chdir(DATA)
    result = doctor("--json", *FILES)
    rows = [json.loads(line) for line in result.output.splitlines()]
    shown = sum((GOLDEN / f"{name}.txt").read_text("utf-8").count("    set: ") for name in FILES)
    assert (len(rows), result.exit_code) == (shown, 1)
    assert {row["effect"] for row in rows} == {"loses", "duplicates", "distorts"}
    assert set(rows[0]) == {"file", "agent", "line", "effect", "what", "why", "setting"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.yaml", "x: [1", "reading YAML"),
        ("a.yaml", "just: this", "it is no config of a Collector, Vector"),
        ("a.yaml", "ledger: {path: x}\nreceivers: {}", "`meterline validate` looks at that"),
        ("a.toml", "x = ", "Invalid value"),
        ("a.conf", "input { file { path => ", "the file ends within a block"),
        ("a.conf", "Name\n[INPUT]\nName x", "stands before the first section"),
        ("a.conf", "<source>\n  @type forward\n</source>", "`meterline doctor senders` says what to set"),
        ("a.yaml", "# nothing", "it is empty"),
        ("a.yaml", "a: 1\n---\nb: 2", "line 3: reading YAML: a second document begins here"),
        ("a.yaml", "#" * 3_000_000, "it has more than 2,097,152 bytes"),
        ("a.alloy", 'loki.write "x"', "the file ends within a block"),
        ("a.yaml", "[" * 1000, "nested too deep"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: str, said: str) -> None:
    """A broken or foreign file is an error with its name and the reason, and exit code 78."""
    path = tmp_path / name
    path.write_text(content)
    result = doctor(str(path))
    assert result.exit_code == 78
    assert said in result.output
    assert name in result.output


def test_a_broken_file_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several files the good ones are reported, each broken one is named, and the exit code says that one was broken."""
    monkeypatch.chdir(DATA)
    result = doctor("none.yaml", "pipelines.yml", "gone.yaml", "promtail.yaml")
    goldens = [(GOLDEN / f"{name}.txt").read_text("utf-8") for name in ("pipelines.yml", "promtail.yaml")]
    assert result.exit_code == 78
    assert "".join(goldens) in result.output
    assert [name in result.output for name in ("'none.yaml'", "'gone.yaml'")] == [True, True]


def test_a_pipeline_alone_does_not_say_where_its_queue_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of Logstash are asked for, unless they are given."""
    monkeypatch.chdir(DATA)
    asked = "give its logstash.yml, too"
    assert asked in doctor("logstash-right.conf").output
    assert asked not in doctor("logstash-right.conf", "logstash-right.yml").output
    assert asked not in doctor("--json", "logstash.conf").output


@pytest.mark.parametrize("text", ["", "# queue.type: persisted\n", "node.name: a\n"])
def test_logstash_settings_as_they_are_installed(tmp_path: Path, text: str) -> None:
    """A logstash.yml in which everything is a comment, or that says nothing of its queue, has it in memory."""
    path = tmp_path / "logstash.yml"
    path.write_text(text)
    result = doctor(str(path))
    assert (result.exit_code, "the queue is in memory" in result.output) == (1, True)


@pytest.mark.parametrize("name", ["logstash.conf", "fluent-bit.conf", "config.alloy", "vector.yaml"])
def test_a_file_without_a_telling_name(tmp_path: Path, name: str) -> None:
    """Whose config it is shows in its content: a pipe of a shell has no name."""
    path = tmp_path / "config"
    path.write_bytes((DATA / name).read_bytes())
    wanted = (GOLDEN / f"{name}.txt").read_text("utf-8").replace(name, str(path))
    assert doctor(str(path)).output == wanted


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    """A folder is a mistake in the command."""
    result = doctor(str(tmp_path))
    assert (result.exit_code, "is a directory" in result.output) == (2, True)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """A file that is not there is named."""
    result = doctor(str(tmp_path / "none.yaml"))
    assert (result.exit_code, "no such file" in result.output) == (78, True)


def test_lines_in_toml() -> None:
    """Each key knows its line, in tables, arrays of tables, dotted keys and inline tables; what is in a text is none."""
    tree = toml_tree(TOML)
    first, second = tree.list("t", "list")
    assert [node.line for node in (first, second)] == [6, 8]
    assert [node.line_of("z") for node in (first, second)] == [7, 9]
    ways = [("t", "x", "y"), ("u",), ("u", "in", "line"), ("u", "text"), ("u", "later"), ("u", "last")]
    assert [tree.line_of(*way) for way in ways] == [5, 10, 11, 12, 16, 17]


@pytest.mark.parametrize("reader", [logstash_tree, alloy_tree, fluent_bit_tree, yaml_tree, toml_tree])
def test_no_text_breaks_a_reader(reader: object) -> None:
    """Whatever a file holds, a reader returns a tree or says what is wrong."""

    @given(st.text(alphabet="ab {}[]()\"'=>#/*\n\t,;:.0-\\`&!|") | st.text())
    def any_text(text: str) -> None:
        try:
            tree = reader(text)  # type: ignore[operator]
        except (ConfigurationError, RecursionError):
            return
        assert tree.line >= 1

    any_text()


@pytest.mark.parametrize(
    "agent", ["otelcol", "vector", "logstash", "grafana-agent", "alloy", "fluent-bit", "prometheus"]
)
def test_the_examples_have_nothing_to_change(root: Path, agent: str) -> None:
    """The agents' configs in examples/ are as the doctor wants them, but for what no setting can mend."""
    configs = [path for path in (root / "examples" / agent).iterdir() if _is_agents(path)]
    assert configs, f"no config in examples/{agent}"
    for path in configs:
        result = doctor("--json", str(path))
        rows = [json.loads(line) for line in result.output.splitlines()]
        assert [row["what"] for row in rows if "end of life" not in row["what"]] == [], path


def _is_agents(path: Path) -> bool:
    return path.suffix in {".yaml", ".yml", ".toml", ".conf", ".alloy"} and not path.name.startswith("meterline")


def test_every_sender_is_told_of() -> None:
    """``doctor senders`` names what is lost by senders that have no config to read, and --json has the same."""
    shown = CliRunner().invoke(main, ["doctor", "senders"])
    rows = [json.loads(line) for line in CliRunner().invoke(main, ["doctor", "senders", "--json"]).output.splitlines()]
    assert shown.exit_code == 0
    assert all(row["sender"] in shown.output and row["setting"] in shown.output for row in rows)
    assert {"rotel", "pino-loki", "Amplitude SDKs", "Mixpanel SDKs"} <= {row["sender"] for row in rows}
