"""
``meterline key new``: a token that opens what its config lines say.
"""

import hashlib
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from meterline.cli import main
from meterline.config import load_config
from meterline.serving.auth.headers import Credential
from meterline.serving.auth.keys import KeyRing


@pytest.mark.parametrize("name", ["acme", 'a "quoted" name: #1', "żółw", "yes", "007"])
def test_a_new_key_opens_what_its_lines_say(tmp_path: Path, name: str) -> None:
    """
    The printed lines are a config's, and the token is the principal's.
    """
    result = CliRunner().invoke(main, ["key", "new", name])
    token, _, lines = result.stdout.partition("\n")
    path = tmp_path / "meterline.yaml"
    path.write_text(
        f"ledger: {{path: x}}\nreceivers: {{otlp: {{grpc: {{}}}}}}\n{lines[lines.index('auth:') :]}", "utf-8"
    )

    auth = load_config(path, {}).auth

    assert auth is not None
    found = KeyRing(auth.keys).find(Credential(token.encode()), 0)
    assert found is not None
    assert (found.name, result.exit_code) == (name, 0)
    assert token not in path.read_text("utf-8")


def test_tokens_cannot_be_guessed() -> None:
    """
    Each is another one, begins with the prefix, and has 192 bits that any header can carry, and that no seed repeats.
    """
    printed = []
    for _ in range(50):
        random.seed(7)
        printed.append(json.loads(CliRunner().invoke(main, ["key", "new", "a", "--json"]).stdout))

    assert len({each["token"] for each in printed}) == 50
    for each in printed:
        random_part = each["token"].removeprefix("ml_")
        assert (len(random_part), random_part.isascii(), each["name"]) == (32, True, "a")
        assert each["token_sha256"] == hashlib.sha256(each["token"].encode()).hexdigest()


@pytest.mark.parametrize("name", ["", "a\nb", "a\x1b[31m"])
def test_a_name_that_could_break_a_config_is_refused(name: str) -> None:
    """
    A name is printable text.
    """
    result = CliRunner().invoke(main, ["key", "new", name])

    assert (result.exit_code, result.stdout) == (2, "")
