"""
Configuration of the JSON receiver.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from meterline.api import ReceiverConfig
from meterline.encodings.events import EventOptions
from meterline.encodings.times import TimestampFormat
from meterline.serving.config import HttpListenerConfig

EventFormat = Literal["auto", "vector", "logstash", "fluent_bit", "cloudevents", "amplitude", "mixpanel"]


class JsonReceiverConfig(ReceiverConfig, HttpListenerConfig):
    """
    Events in, over HTTP.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"endpoint": "127.0.0.1:4318", "formats": ["auto", "vector"], "id_field": "call.id"}]
        }
    )

    formats: tuple[EventFormat, ...] = Field(
        default=("auto", "vector", "logstash", "fluent_bit", "cloudevents"),
        min_length=1,
        description="Which events are taken, each at paths of its own; amplitude and mixpanel have those of their services.",
    )
    path_prefix: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = Field(
        default="", description="Stands before all paths, so that two of these receivers can share a port."
    )
    events_field: str = Field(
        default="",
        description="Path of the list of events in a request that has one, such as `data`; absent: it is the list.",
    )
    id_field: str = Field(
        default="",
        description="Path of the event's unique id, such as `event.id`; it becomes the attribute log.record.uid.",
    )
    timestamp_field: str = Field(default="", description="Path of the event's time; absent: where its format has it.")
    timestamp_format: TimestampFormat | None = Field(
        default=None, description="How the time is written; absent: as its format has it."
    )
    missing_timestamp: Literal["quarantine", "received"] = Field(
        default="quarantine",
        description="What becomes of an event without time: quarantine, or it takes the time at which it was received.",
    )

    def event_options(self) -> EventOptions:
        """
        Return what the encodings need to know of it.
        """
        return EventOptions(
            id_field=self.id_field,
            timestamp_field=self.timestamp_field,
            timestamp_format=self.timestamp_format,
            received=self.missing_timestamp == "received",
            events_field=self.events_field,
        )
