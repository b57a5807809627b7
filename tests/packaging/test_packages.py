"""
The packaged layout: `receivers/` and `exporters/` stand at the top and install below `meterline`.

Three traps are silent (no build fails): a package list that forgets a folder, an optional extension that swallows a
compile error, an sdist from which the wheel lacks files. Each has a test here.
"""

import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

ROOTS = {"src/meterline": "meterline", "receivers": "meterline/receivers", "exporters": "meterline/exporters"}
BUILD_INPUTS = ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md", "proto", "examples", *ROOTS)


def setup_call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """
    Run setup.py in a folder, and return what it would tell setuptools.
    """
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("setuptools.setup", lambda **arguments: calls.append(arguments))
    monkeypatch.chdir(folder)
    runpy.run_path(str(folder / "setup.py"))
    return calls[0]


def own_files(root: Path) -> set[str]:
    """
    Return every file that must be installed, by its path in a wheel.
    """
    return {
        f"{target}/{path.relative_to(root / source)}"
        for source, target in ROOTS.items()
        for path in (root / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not _linked(root / source, path)
    }


def _linked(source: Path, path: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(source))


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Copy what a build reads, links as links, without what earlier builds left.
    """
    target = tmp_path_factory.mktemp("tree")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in BUILD_INPUTS:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore=skip)
        else:
            shutil.copy(source, target / name)
    return target


@pytest.fixture(scope="module")
def sdist(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Build an sdist of the copy, and unpack it.
    """
    out = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})"
    subprocess.run([sys.executable, "-P", "-c", code], cwd=copy, check=True, capture_output=True, timeout=300)
    with tarfile.open(next(out.glob("*.tar.gz"))) as archive:
        archive.extractall(out, filter="data")
    return next(path for path in out.iterdir() if path.is_dir())


def wheel(tree: Path, out: Path) -> Path:
    """
    Build a wheel of a tree with the tools that are installed.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        str(tree),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(out.glob("*.whl"))


def test_every_folder_is_a_listed_package(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 1: each folder with an __init__.py under the three roots is in the package list, once."""
    listed = setup_call(root, monkeypatch)["packages"]
    there = [file.rpartition("/")[0].replace("/", ".") for file in own_files(root) if file.endswith("/__init__.py")]

    assert sorted(there) == sorted(listed)


def test_a_new_plugin_folder_is_picked_up(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 1: a plugin folder that nobody wrote down anywhere is packaged, with its sub-packages."""
    (copy / "exporters" / "brandnew" / "inner").mkdir(parents=True)
    (copy / "exporters" / "brandnew" / "__init__.py").touch()
    (copy / "exporters" / "brandnew" / "inner" / "__init__.py").touch()
    try:
        listed = setup_call(copy, monkeypatch)["packages"]
    finally:
        shutil.rmtree(copy / "exporters" / "brandnew")

    assert {"meterline.exporters.brandnew", "meterline.exporters.brandnew.inner"} <= set(listed)


def test_no_extension_is_optional(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 2: nothing that setup.py builds may fail in silence."""
    call = setup_call(root, monkeypatch)
    extensions = [*call.get("ext_modules", ()), *call.get("rust_extensions", ())]

    assert [extension.name for extension in extensions if extension.optional] == []


def test_entry_points_load(root: Path) -> None:
    """Every entry point of pyproject.toml is installed and loads: a stale install or a typo would show only in use."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for group, wanted in {**project["entry-points"], "console_scripts": project["scripts"]}.items():
        found = {entry.name: entry for entry in entry_points(group=group) if entry.value in wanted.values()}
        assert {name: entry.value for name, entry in found.items()} == wanted
        assert all(callable(entry.load()) for entry in found.values())


@pytest.mark.slow
def test_wheels_from_tree_and_from_sdist_hold_everything(copy: Path, sdist: Path, tmp_path: Path) -> None:
    """Trap 3: the wheel of the tree and the wheel of its sdist have every file of the three roots, and nothing else."""
    for number, tree in enumerate((copy, sdist)):
        with zipfile.ZipFile(wheel(tree, tmp_path / str(number))) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == own_files(copy)


@pytest.mark.slow
def test_sdist_has_what_is_not_installed(copy: Path, sdist: Path) -> None:
    """Trap 3: the proto sources and the examples are in the sdist."""
    for folder in ("proto", "examples"):
        expected = {path.relative_to(copy) for path in (copy / folder).rglob("*") if path.is_file()}
        assert expected
        assert {path.relative_to(sdist) for path in (sdist / folder).rglob("*") if path.is_file()} >= expected


@pytest.mark.slow
def test_without_the_links_everything_still_installs(copy: Path, tmp_path: Path) -> None:
    """A checkout whose links became text files (Windows, zip downloads) gives the same wheel: they serve static tools."""
    tree = tmp_path / "tree"
    shutil.copytree(copy, tree, symlinks=True)
    for name in ("receivers", "exporters"):
        (tree / "src" / "meterline" / name).unlink()
        (tree / "src" / "meterline" / name).write_text(f"../../{name}", encoding="utf-8")
    with zipfile.ZipFile(wheel(tree, tmp_path / "out")) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert names >= own_files(copy)


@pytest.mark.slow
def test_an_installed_wheel_runs(copy: Path, tmp_path: Path) -> None:
    """Installed beside nothing of the checkout, the command knows its plugins and can write and check a config."""
    built = wheel(copy, tmp_path / "dist")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(built)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-m", "meterline", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)

    assert run("init").returncode == 0
    assert run("validate", "meterline.yaml").returncode == 0
    assert "otlp" in run("plugins", "ls").stdout
    where = [sys.executable, "-c", "import meterline.exporters.file as f; print(f.__file__)"]
    env = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    shown = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True).stdout
    assert shown.startswith(str(site))
