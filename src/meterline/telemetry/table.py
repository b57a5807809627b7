"""
The one table of Meterline's own metrics. ``docs/metrics.md`` is made from it, and a sample that is not in it is a bug.

Names follow the Collector's with our prefix, so that dashboards transfer. Prometheus adds ``_total`` to counters.
No label ever holds a customer: labels come from the config or from fixed sets, so their number is bounded.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric: a counter never falls while the process lives; a gauge is a reading.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[str, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """
        Return the name on the Prometheus page.
        """
        return f"{self.name}_total" if self.kind == "counter" else self.name


METRICS: tuple[Metric, ...] = (
    Metric("meterline_process_uptime_seconds", "gauge", "s", "Time since the process started."),
    Metric("meterline_process_cpu_seconds", "counter", "s", "Processor time used by this process."),
    Metric("meterline_process_memory_rss_bytes", "gauge", "By", "Resident memory of this process."),
    Metric("meterline_process_open_files", "gauge", "", "Open file descriptors of this process."),
    Metric("meterline_process_threads", "gauge", "", "Threads of this process."),
)
