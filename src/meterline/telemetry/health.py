"""
Health over HTTP for supervisors and load balancers.

``/livez``: the process answers; it never depends on backends or disks, or a full disk would become a restart storm.
``/readyz``: intake accepts now. ``/startupz``: recovery is done. Bodies are JSON with what the gateway knows.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from meterline.telemetry.http import Reply, Route

Phase = Literal["starting", "running", "stopping"]


class Health:
    """
    The three probes over one gateway, whose phase is told by whoever starts and stops it.
    """

    def __init__(self, ready: Callable[[], bool], detail: Callable[[], Mapping[str, Any]]) -> None:
        """
        ``detail`` gives what stands beside the status in the bodies of ``/readyz`` and ``/startupz``.
        """
        self.phase: Phase = "starting"
        self._ready = ready
        self._detail = detail

    def routes(self) -> Mapping[str, Route]:
        """
        Return the paths and their answers.
        """
        return {"/livez": self._livez, "/readyz": self._readyz, "/startupz": self._startupz}

    def _livez(self, _headers: Mapping[str, str]) -> Reply:
        return Reply.json(200, {"status": "alive", "phase": self.phase})

    def _readyz(self, _headers: Mapping[str, str]) -> Reply:
        ready = self.phase == "running" and self._ready()
        return self._reply("ready" if ready else "not ready", good=ready)

    def _startupz(self, _headers: Mapping[str, str]) -> Reply:
        started = self.phase != "starting"
        return self._reply("started" if started else "starting", good=started)

    def _reply(self, status: str, *, good: bool) -> Reply:
        return Reply.json(200 if good else 503, {"status": status, "phase": self.phase, **self._detail()})
