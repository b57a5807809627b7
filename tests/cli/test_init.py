"""
`meterline init`: the config that it writes is right, complete for editors, and never overwrites.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from meterline.cli import main
from meterline.config import load_config


def test_writes_a_config_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path: meterline.yaml here, which loads without a finding, beside the schema that its first line names."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["init"])
    first = (tmp_path / "meterline.yaml").read_text(encoding="utf-8").splitlines()[0]

    assert result.exit_code == 0
    assert list(load_config(tmp_path / "meterline.yaml", {}).receivers) == ["otlp"]
    assert first == "# yaml-language-server: $schema=./meterline.schema.json"
    schema = json.loads((tmp_path / "meterline.schema.json").read_text(encoding="utf-8"))
    assert "file" in json.dumps(schema)
    assert set(schema["properties"]) >= {"ledger", "receivers", "rules", "exporters", "telemetry", "state", "dedupe"}


def test_every_comment_that_shows_an_option_is_right(tmp_path: Path) -> None:
    """The commented options can be switched on, all of them, and the config still loads."""
    CliRunner().invoke(main, ["init", str(tmp_path / "m.yaml")])
    lines = (tmp_path / "m.yaml").read_text(encoding="utf-8").splitlines()
    options = ("# max_bytes", "# retention_secs", "# auth:", "# tls", "# prometheus:", "# loki:", "# json:", "# usage:")
    switched = [line.replace("# ", "", 1) if line.strip().startswith(options) else line for line in lines]
    assert sum(line != new for line, new in zip(lines, switched, strict=True)) == len(options)
    for name in ("server.crt", "server.key"):
        (tmp_path / name).touch()
    (tmp_path / "m.yaml").write_text("\n".join(switched), encoding="utf-8")

    config = load_config(tmp_path / "m.yaml", {"METERLINE_TOKEN": "secret"})

    assert config.ledger.retention_secs == 604800
    assert config.auth is not None
    assert config.auth.keys[0].name == "team-a"
    assert list(config.receivers) == ["otlp", "prometheus", "loki", "json", "usage"]


def test_a_folder_gets_a_meterline_yaml(tmp_path: Path) -> None:
    """A folder as path gets a meterline.yaml; folders on the way are made."""
    assert CliRunner().invoke(main, ["init", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(main, ["init", str(tmp_path / "a" / "b.yaml")]).exit_code == 0

    assert (tmp_path / "meterline.yaml").exists()
    assert (tmp_path / "a" / "b.yaml").exists()


def test_never_overwrites(tmp_path: Path) -> None:
    """A config that exists stays as it is: exit code 1, and a message that names it."""
    path = tmp_path / "meterline.yaml"
    path.write_text("mine", encoding="utf-8")
    result = CliRunner().invoke(main, ["init", str(path)])

    assert (result.exit_code, path.read_text(encoding="utf-8")) == (1, "mine")
    assert str(path) in result.output
