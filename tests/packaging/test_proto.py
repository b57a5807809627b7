"""
Generated protobuf code is what the sources make, and ``proto/`` never becomes a package.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_generated_code_has_not_drifted() -> None:
    """
    ``python proto/generate.py --check`` finds nothing to do.
    """
    done = subprocess.run(
        [sys.executable, ROOT / "proto" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_proto_holds_no_package() -> None:
    """
    An ``__init__.py`` in ``proto/`` would shadow the ``proto`` package of others.
    """
    assert list((ROOT / "proto").rglob("__init__.py")) == []
