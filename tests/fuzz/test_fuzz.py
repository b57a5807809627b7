"""
Every decoder under coverage-guided fuzzing, briefly; ``run.py`` does it for as long as one likes.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("run.py")


@pytest.mark.slow
@pytest.mark.timeout(170)
def test_all_targets(tmp_path: Path, rng: random.Random) -> None:
    """Half a minute of inputs that look for new ways through the decoders: none raises what it does not document, or hangs."""
    command = [sys.executable, str(PROGRAM), "all", "--seconds=30", f"--seed={rng.randrange(1, 2**31)}"]
    environment = {**os.environ, "PYTHONSAFEPATH": ""}  # it imports the targets that stand beside it
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=160, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    assert "Done " in done.stderr, done.stderr[-2000:]
