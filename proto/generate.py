# ruff: noqa: INP001 - proto/ must never become a package
"""
Make ``src/meterline/_proto`` from the ``.proto`` sources: ``python proto/generate.py [--check]``.

The same sources and the same pinned tools give the same bytes. ``--check`` writes nothing and exits 1 when what is checked in
is not what the sources make.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools

PROTO = Path(__file__).resolve().parent
TARGET = PROTO.parent / "src" / "meterline" / "_proto"
DOCSTRING = '"""\nGenerated from proto/ by ``python proto/generate.py``; do not edit.\n"""\n'


def sources() -> list[str]:
    """
    Return the ``.proto`` files, relative to ``proto/``, in order.
    """
    return sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))


def generate(target: Path) -> None:
    """
    Write the generated modules, their stubs and the packages around them.
    """
    include = Path(grpc_tools.__file__).parent / "_proto"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{include}"]
    plugin = f"--plugin=protoc-gen-mypy={Path(sys.executable).parent / 'protoc-gen-mypy'}"
    outputs = [f"--python_out={target}", plugin, f"--mypy_out=quiet:{target}"]
    subprocess.run([*command, *outputs, *sources()], check=True)  # noqa: S603 - our own arguments
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text(DOCSTRING, encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    """
    Return what a folder holds, by relative path, caches aside.
    """
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def main(arguments: list[str]) -> int:
    """
    Write, or check, the generated code.
    """
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        made, kept = contents(Path(scratch)), contents(TARGET)
        stale = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
        if "--check" in arguments:
            sys.stderr.writelines(
                f"checking {name}: not what proto/ makes; run python proto/generate.py\n" for name in stale
            )
            return 1 if stale else 0
        for name in stale:
            path = TARGET / name
            if name in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(made[name])
            else:
                path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
