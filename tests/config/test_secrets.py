"""
No output of anything shows a secret.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meterline.api.config import redacted
from meterline.config import Config, ConfigurationErrors, Diagnostic, lint, load_config

CANARY = "cnry-4f2a-canary"

SECRET = f"""
ledger: {{path: ./meterline.db}}
receivers:
  otlp:
    grpc:
      endpoint: 0.0.0.0:4317
      auth:
        keys:
          - {{name: literal, token: {CANARY}1}}
          - {{name: quoted, token: "{CANARY}2", customers: [acme]}}
          - name: block
            token: |-
              {CANARY}3
          - name: environment
            token: ${{env:TOKEN}}
          - name: file
            token: "x${{file:token}}"
telemetry:
  otlp: {{endpoint: "127.0.0.1:1", headers: {{authorization: {CANARY}6}}}}
"""


def outputs(found: BaseException | Config) -> str:
    """
    Return everything that is ever printed of a config or of its errors.
    """
    if isinstance(found, ConfigurationErrors):
        return "\n".join([str(found), repr(found), repr(found.args), *map(_all, found.diagnostics)])
    assert isinstance(found, Config)
    models = [*found.receivers.values(), *found.exporters.values(), found.telemetry]
    texts = [repr(found), str(found), found.source_text, found.rule_set.text, repr(found.pointer)]
    texts += [json.dumps(redacted(model)) for model in models] + [repr(model) for model in models]
    return "\n".join([*texts, *map(_all, lint(found))])


def _all(diagnostic: Diagnostic) -> str:
    return "\n".join([str(diagnostic), repr(diagnostic), json.dumps(diagnostic.to_dict())])


def load(tmp_path: Path, text: str) -> BaseException | Config:
    """
    Load, with the canary in the environment and in a file.
    """
    (tmp_path / "token").write_text(f"{CANARY}5\n")
    path = tmp_path / "meterline.yaml"
    path.write_text(text)
    try:
        return load_config(path, {"TOKEN": f"{CANARY}4"})
    except ConfigurationErrors as error:
        return error


def test_a_good_config_shows_none(tmp_path: Path) -> None:
    """Neither the config nor its lints nor its source text show a secret, and the plugins get them all."""
    config = load(tmp_path, SECRET)
    assert isinstance(config, Config)

    assert CANARY not in outputs(config)
    tokens = [key.token.get_secret_value() for key in config.receivers["otlp"].grpc.auth.keys]  # type: ignore[attr-defined]
    assert tokens == [f"{CANARY}1", f"{CANARY}2", f"{CANARY}3", f"{CANARY}4", f"x{CANARY}5"]
    assert "${env:TOKEN}" in config.source_text
    assert "endpoint: 0.0.0.0:4317" in config.source_text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("token: |", "tokn: |"),
        ("name: literal, token", "name: literal, tokn"),
        ("name: literal, token", "nme: literal, token"),
        (f"token: {CANARY}1", f"token: [{CANARY}1]"),
        (f"token: {CANARY}1", f"token: {{a: {CANARY}1}}"),
        (f"token: {CANARY}1", f"token: {CANARY}1, token: {CANARY}1"),
        (f"token: {CANARY}1", f"token: {CANARY}1: x"),
        (f"token: {CANARY}1", f"token: {CANARY}1}}"),
        (f'token: "{CANARY}2"', f'token: "{CANARY}2'),
        (f'token: "{CANARY}2"', f'token: "{CANARY}2 "'),
        (f'token: "{CANARY}2"', f'token: "{CANARY}2", token_sha256: {CANARY}'),
        (f"authorization: {CANARY}6", f"authorization: !x {CANARY}6"),
        ("headers: ", "headrs: "),
        ("auth:\n", "atuh:\n"),
        ("receivers:", "recievers:"),
        ("  otlp:\n", "  otpl:\n"),
        ("  otlp:\n", "  otlp:\n    type: nothing\n"),
        ("name: environment", f"name: environment\n            tken: {CANARY}4"),
        ("endpoint: 0.0.0.0:4317", "endpoint: ${env:TOKEN}"),
        ("name: block", "name: ${env:TOKEN}\n            customers: 5"),
        ("ledger: {path: ./meterline.db}", "ledger: {path: ./meterline.db, max_bytes: '${env:TOKEN}'}"),
        ("telemetry:", "telemetry:\n  logs: {level: '${file:token}'}"),
        ("ledger:", "ledger:\n\t"),
        ("token: ${env:TOKEN}", f"token: {CANARY}${{env:TOKEN}}{CANARY}, customers: 5"),
        ("token: ${env:TOKEN}", f"token: {CANARY}${{env:NOT_SET}}"),
    ],
)
def test_no_error_shows_one(tmp_path: Path, before: str, after: str) -> None:
    """Excerpts, messages and JSON of errors are without secrets, also where the error is in the secret itself."""
    assert before in SECRET
    found = load(tmp_path, SECRET.replace(before, after, 1))

    assert isinstance(found, ConfigurationErrors)
    assert CANARY not in outputs(found)


def test_a_plugins_message_that_quotes_a_secret_is_masked(section: Callable[..., Config]) -> None:
    """A validator may quote what it was given: an address from the environment is masked in the words too."""
    for place in (f"{CANARY}:nowhere", "abc"):
        with pytest.raises(ConfigurationErrors) as caught:
            section("telemetry: {health: {endpoint: '${env:PLACE}'}}", PLACE=place)

        assert "reading endpoint '**********'" in str(caught.value)


def test_rule_text_is_shown(section: Callable[..., Config]) -> None:
    """Rules have no secrets: unknown keys of theirs are shown whole."""
    with pytest.raises(ConfigurationErrors) as caught:
        section("rules:\n  - {name: a, match: {metrc: shown}, customer: c, dimension: d}")

    found: Any = caught.value.diagnostics
    assert all("shown" in each.excerpt for each in found)
