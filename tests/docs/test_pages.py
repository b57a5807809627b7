"""
Documentation that cannot rot: named files exist, links lead somewhere, shown commands and configs work.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from meterline.config import load_config

PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")
BLOCK = re.compile(r"^```(\S*) *([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REST = "ledger: {path: ./meterline.db}\nreceivers: {otlp: {grpc: {endpoint: 127.0.0.1:4317}}}\n"


def pages(root: Path) -> list[Path]:
    """
    Return every page that people read.
    """
    return (
        [root / name for name in PAGES]
        + sorted((root / "docs").rglob("*.md"))
        + sorted((root / "examples").rglob("*.md"))
    )


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """
    Return (words after the language, text) of each fenced block of a language.
    """
    return [
        (words, text) for found, words, text in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language
    ]


def test_files_that_architecture_names_exist(root: Path) -> None:
    """Every path in backticks on ARCHITECTURE.md is there, and the page names those of each step."""
    text = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([^`\n]+)`", text) if "/" in name or name.endswith((".py", ".toml"))]

    assert len(named) > 25
    assert [name for name in named if not (root / name).exists()] == []
    assert len(text.splitlines()) < 100


def test_links_lead_somewhere(root: Path) -> None:
    """Every relative link on every page leads to a file, and every heading it names is there."""
    broken = []
    for page in pages(root):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            name, _, heading = target.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            file = page.parent / name if name else page
            if not file.exists() or (heading and heading not in _headings(file)):
                broken.append(f"{page.relative_to(root)}: {target}")

    assert broken == []


def _headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in found}


def test_no_page_names_a_place_of_one_machine(root: Path) -> None:
    """Pages name no absolute path of the machine they were written on."""
    assert [page for page in pages(root) if re.search(r"(?<!\S)/(work|root|home)/", page.read_text("utf-8"))] == []


def test_every_config_that_is_shown_loads(root: Path, tmp_path: Path) -> None:
    """Each YAML block is a config, or rules that become one with the usual rest; those of others say so."""
    (tmp_path / "m.yaml").touch()
    shown = 0
    for page in pages(root):
        for words, text in blocks(page, "yaml"):
            if words:  # another program's config: `yaml collector`, or part of one: `yaml part`
                continue
            shown += 1
            whole = text if re.search(r"^ledger:", text, re.MULTILINE) else REST + text
            (tmp_path / "m.yaml").write_text(whole, encoding="utf-8")
            assert load_config(tmp_path / "m.yaml", os.environ).ledger, f"{page}: {text}"

    assert shown >= 2


def test_every_example_config_loads(root: Path) -> None:
    """Each meterline.yaml under examples/ loads."""
    configs = sorted((root / "examples").rglob("meterline*.yaml"))

    assert configs
    assert all(load_config(path, os.environ).receivers for path in configs)


def test_make_commands_that_are_shown_exist(root: Path) -> None:
    """`make` knows every goal that a page tells people to make."""
    text = "".join(page.read_text(encoding="utf-8") for page in pages(root))
    goals = sorted(set(re.findall(r"^make (\w+)|`make (\w+)`", text, re.MULTILINE)))
    names = sorted({name for pair in goals for name in pair if name})
    result = subprocess.run(
        ["make", "--dry-run", *names], cwd=root, capture_output=True, text=True, check=False, timeout=60
    )

    assert {"demo", "test", "check"} <= set(names)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["README.md", "docs/getting-started.md"])
@pytest.mark.timeout(120)
def test_meterline_commands_that_are_shown_work(root: Path, tmp_path: Path, name: str) -> None:
    """The `meterline` lines of a page, run one after the other in an empty folder as they stand, each exit with 0."""
    lines = [line for _, text in blocks(root / name, "sh") for line in text.splitlines()]
    commands = [line.partition("#")[0].split()[1:] for line in lines if line.startswith("meterline ")]
    assert ["init"] in commands
    assert [line for line in lines if line.split()[:1] not in (["meterline"], ["make"], [])] == []
    for command in commands:
        assert run(command, tmp_path) == 0, command


def run(command: list[str], folder: Path) -> int:
    """
    Run a command to its end; the gateway until it listens, then with a SIGTERM.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "meterline", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        if command[0] == "run":
            for line in child.stdout:
                if line == "ready\n":
                    break
            child.terminate()
        child.stdout.read()
        return child.wait(60)


def test_generated_parts_are_up_to_date(root: Path) -> None:
    """What is made from the code is what the code makes: docs/generate.py --check has nothing to say."""
    command = [sys.executable, "docs/generate.py", "--check"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)

    assert (result.returncode, result.stderr) == (0, "")


def test_the_makefile_uses_nothing_but_python(root: Path) -> None:
    """`make demo` and `make test` start with a Python alone: the first step of each is its own virtual environment."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"}
    for goal in ("demo", "test"):
        result = subprocess.run(
            ["make", "--dry-run", "--always-make", goal],
            cwd=root,
            env=env,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        programs = {line.split()[0] for line in result.stdout.splitlines()}
        assert any("venv" in line for line in result.stdout.splitlines())
        assert all(
            name in {"test", "touch", "rm"} or "python" in name or name.startswith(".venv") for name in programs
        ), programs


def test_the_version_is_written_once(root: Path) -> None:
    """The installed version is the one of pyproject.toml."""
    from meterline import __version__  # noqa: PLC0415 - read when asked, since it is what is compared

    assert __version__ == tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
