"""
One exporter as the engine sees it: connected or not, and every exception turned into what it means.
"""

from typing import Any

from meterline.api import Batch, Exporter, NotConnectedError, PausedError, Receipt, RetryableError, Verdict
from meterline.api.receipt import retry_all, unknown_all


class Port:
    """
    Calls the plugin. ``connected`` falls whenever the contract says that ``connect`` must be called again.
    """

    def __init__(self, exporter: Exporter[Any]) -> None:
        self.exporter = exporter
        self.connected = False
        self._log = exporter.context.log

    def connect(self, checkpoint: bytes | None) -> str | None:
        """
        Connect; returns why it failed, or None. Whatever a plugin raises here means "not now".

        :raises PausedError: not before a person has acted.
        """
        try:
            self.exporter.connect(checkpoint)
        except PausedError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin's error never ends the engine
            return str(error) or type(error).__name__
        self.connected = True
        return None

    def send(self, batch: Batch) -> tuple[Receipt, bool]:
        """
        Send once; returns the receipt, and whether the far side could not be reached at all.

        :raises PausedError: nothing was sent, and nothing may be before a person has acted.
        """
        try:
            receipt = self.exporter.send(batch)
        except PausedError:
            self.connected = False
            raise
        except NotConnectedError as error:
            self.connected = False
            return retry_all(str(error)), True
        except RetryableError as error:
            self.connected = False
            return retry_all(str(error), error.retry_after_secs), False
        except Exception as error:  # noqa: BLE001 - an outcome like any other: nobody knows what was taken
            self._log.warning("sending had no answer", error=f"{type(error).__name__}: {error}")
            receipt = unknown_all(f"{type(error).__name__}: {error}")
        self.connected = self.connected and not _in_doubt(receipt)
        return receipt, False

    def disconnect(self) -> None:
        """
        Have the plugin connect again before the next send, with the last stored checkpoint.
        """
        self.connected = False


def _in_doubt(receipt: Receipt) -> bool:
    outcomes = [receipt.default, *receipt.exceptions.values()]
    return any(outcome.verdict in {Verdict.RETRY, Verdict.UNKNOWN} for outcome in outcomes)
