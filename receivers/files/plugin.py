"""
The files receiver.
"""

from collections.abc import Iterable, Mapping
from functools import partial

from meterline.api import PluginSpec, Receiver, ReceiverContext, Sample
from meterline.receivers.files.config import FilesReceiverConfig
from meterline.receivers.files.decoding import decode
from meterline.receivers.files.reader import FileReader


class FilesReceiver(Receiver[FilesReceiverConfig]):
    """
    Lines of files, each stored once, whatever happens between: the cursor is in the commit of the lines.
    """

    spec = PluginSpec(
        name="files",
        kind="receiver",
        stability="beta",
        summary="Files of telemetry: the Collector's file exporter output, and NDJSON of any event format; for backfill.",
    )
    Config = FilesReceiverConfig

    def __init__(self, name: str, config: FilesReceiverConfig, context: ReceiverContext) -> None:
        super().__init__(name, config, context)
        self._reader = FileReader(name, config, context, partial(decode, form=config.format))

    def start(self) -> None:
        """
        Start reading. A file that cannot be read is no error here: it is named in the log and tried again.
        """
        self._reader.start()

    @property
    def endpoints(self) -> Mapping[str, str]:
        """
        Return nothing: no port is opened.
        """
        return {}

    def stop(self, grace_secs: float) -> None:
        """
        Finish the batch under way, for up to the grace.
        """
        self._reader.stop(grace_secs)

    def samples(self) -> Iterable[Sample]:
        """
        Return how far reading has come.
        """
        return self._reader.progress.samples({"receiver": self.name})
