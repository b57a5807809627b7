"""
The official SDKs of Amplitude and Mixpanel as senders, each in a process of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from meterline.testing.peers import RECIPES, npm

KEY: Final = "0123456789abcdef"
"""The key or token in the examples' meterline.yaml."""


class Told(NamedTuple):
    """
    What an SDK said at its end: the sum of what it was told is stored, and how many events it gave up.
    """

    sent: int
    failed: int


class SdkProcess:
    """
    A sender of ``count`` events with the quantities ``first``, ``first + 1`` and so on, of one customer.
    """

    def __init__(
        self,
        product: str,
        language: str,
        url: str,
        customer: str,
        count: int,
        *,
        first: int = 1,
        key: str = KEY,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """
        ``product``: amplitude or mixpanel; ``language``: python or js.
        """
        programs = {
            "python": lambda: [sys.executable, str(RECIPES / "events-python" / "send.py")],
            "js": lambda: ["node", str(npm("events-js") / "send.js")],
        }
        command = [*programs[language](), product, url, key, customer, str(count), str(first)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
        )

    def finish(self, timeout_secs: float = 120.0) -> Told:
        """
        Wait for its end. Raises AssertionError when it fails.
        """
        try:
            out, err = self._process.communicate(timeout=timeout_secs)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        assert self._process.returncode == 0, err
        return Told(**json.loads(out))
