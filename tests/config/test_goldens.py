"""
Wrong configs and exactly what is said of each; ``--update-golden`` rewrites the texts.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from meterline.config import ConfigurationErrors, load_config
from meterline.config.codes import CODES

TESTDATA = Path(__file__).parent / "testdata"
CONFIGS = sorted(path.stem for path in TESTDATA.glob("*.yaml"))
ENVIRON = {"TEXT": "canary-from-environment", "NUMBER": "12.5"}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_said_of_a_wrong_config(
    name: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every error of the file at once, each with code, place, excerpt, caret and remedy; no secret in any of it."""
    monkeypatch.chdir(TESTDATA)

    with pytest.raises(ConfigurationErrors) as caught:
        load_config(Path(f"{name}.yaml"), ENVIRON)

    text = str(caught.value)
    golden(f"{name}.txt", text.replace(str(TESTDATA), "TESTDATA") + "\n")
    everything = text + json.dumps([found.to_dict() for found in caught.value.diagnostics])
    assert "cnry-" not in everything
    assert "canary-" not in everything


def test_there_are_enough_of_them() -> None:
    """The collection covers at least 40 wrong files and every code that an error can have."""
    texts = [(TESTDATA.parent / "golden" / f"{name}.txt").read_text(encoding="utf-8") for name in CONFIGS]

    assert len(CONFIGS) >= 40
    codes = [code for code, meaning in CODES.items() if not meaning.startswith("Warning")]
    missing = {code for code in codes if not any(f"error[{code}]" in text for text in texts)}
    assert missing == {"ML031"}, "test_plugins.py has the plugin that does not load"


def test_every_code_is_in_the_table(root: Path) -> None:
    """The table of codes has those that the code uses, and no other."""
    sources = [
        path.read_text(encoding="utf-8")
        for part in ("config", "rules")
        for path in (root / "src/meterline" / part).glob("*.py")
    ]

    used = {code for text in sources for code in re.findall(r'"(ML\d{3})"(?!:)', text)}
    assert used == set(CODES)
