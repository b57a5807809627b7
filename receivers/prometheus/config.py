"""
Configuration of the Prometheus receiver.
"""

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt

from meterline.api import PluginConfig, ReceiverConfig
from meterline.serving.config import HttpListenerConfig


class HaConfig(PluginConfig):
    """
    Pairs of Prometheus servers that scrape the same targets, of which one counts at a time.
    """

    cluster_label: str = Field(
        default="cluster", min_length=1, description="The external label that both servers of a pair share."
    )
    replica_label: str = Field(
        default="__replica__",
        min_length=1,
        description="The external label that tells them apart; never part of a series' identity.",
    )
    failover_secs: PositiveFloat = Field(
        default=30.0,
        description="When nothing came from the elected server for so long, another one is elected; should be longer "
        "than the scrape interval.",
    )
    max_clusters: PositiveInt = Field(
        default=1_000, description="Clusters of one principal; with more alive at once, new ones are refused for now."
    )


class PrometheusReceiverConfig(ReceiverConfig, HttpListenerConfig):
    """
    Prometheus remote write in.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "endpoint": "127.0.0.1:4318",
                    "counters": ["acme_*_count"],
                    "ha": {"cluster_label": "prometheus", "replica_label": "prometheus_replica"},
                }
            ]
        }
    )

    counters: tuple[str, ...] = Field(
        default=(), description="Globs of series that are counters, whatever metadata and name say."
    )
    gauges: tuple[str, ...] = Field(default=(), description="The same for gauges; a name of both lists is a gauge.")
    max_families: PositiveInt = Field(
        default=20_000, description="Metric families of one principal whose type is remembered."
    )
    ha: HaConfig | None = Field(
        default_factory=HaConfig, description="Pairs of servers; null: the replica's label is like any other."
    )
