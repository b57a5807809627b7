"""
The OpenTelemetry SDKs as senders: what they send, the rules that bill it, and what must come of it.
"""

import json
import subprocess
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Final, Self

from meterline.testing.peers import sdk_commands
from meterline.testing.site import Totals

RULES: Final = """\
rules:
  - name: requests
    match: {metric: sdk.requests}
    customer: attributes["customer.id"]
    dimension: requests
    unit: "{request}"
  - name: work
    match: {metric: sdk.work}
    customer: attributes["customer.id"]
    dimension: work
  - name: sizes
    match: {metric: sdk.size}
    customer: attributes["customer.id"]
    dimension: size
    value: sum
  - name: calls
    match: {log: true, attributes: {event: call}}
    customer: attributes["customer.id"]
    dimension: calls
    identity: attributes["event.id"]
    value: attributes["amount"]
"""
"""The ``rules`` section that bills what ``tests/peers/python/send.py`` and ``tests/peers/js/send.js`` send."""


class Senders:
    """
    Programs that send side by side, by name; each prints ``{"customer dimension": total}``, of which ``finish`` makes totals.
    """

    def __init__(self, commands: Mapping[str, list[str]]) -> None:
        self._processes = {
            name: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for name, command in commands.items()
        }

    def finish(self, timeout_secs: float = 60.0) -> Totals:
        """
        Wait for all, and return what must be billed by customer and dimension.
        """
        totals = {}
        for name, process in self._processes.items():
            out, err = process.communicate(timeout=timeout_secs)
            assert process.returncode == 0, f"{name}: {err}"
            for key, value in json.loads(out).items():
                customer, dimension = key.split()
                totals[customer, dimension] = Decimal(str(value))
        return totals

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.communicate()


class SdkSenders(Senders):
    """
    The Python and the JS SDK, each a process; of OTLP/JSON the JS SDK alone.
    """

    def __init__(self, target: str, name: str, rounds: int, temporality: str, protocol: str = "grpc") -> None:
        super().__init__(sdk_commands(target, name, rounds, temporality, protocol))
