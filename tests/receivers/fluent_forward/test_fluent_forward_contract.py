"""
The receiver contract kit on the forward protocol, in every mode, with a chunk id, as that is what is answered.

The protocol has no word for "drop it": what is refused for good closes the connection like what is refused for now. The kit's
test of it is replaced by what the protocol can promise.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meterline.api import Receiver, ReceiverContext
from meterline.receivers.fluent_forward import FluentForwardReceiver
from meterline.testing.forward_client import ForwardClient, compressed_forward, forward, packed_forward
from meterline.testing.receivers import ID_KEY, Connection, Fate, Harness, Reply, receiver_suite, running
from meterline.testing.scripted_intake import Script

Build = Callable[..., bytes]

NOW = 1_795_346_017_123_456_789


class _Client(Connection):
    """
    Sends chunks, and connects again when one is not acknowledged.
    """

    numbers = itertools.count()

    def __init__(self, address: str, build: Build) -> None:
        self._address = address
        self._build = build
        self._client: ForwardClient | None = None

    def send(self, ids: Sequence[str]) -> Reply:
        chunk = f"chunk-{next(self.numbers)}\n"
        entries = [(NOW + number, {ID_KEY: point_id}) for number, point_id in enumerate(ids)]
        data = self._build("contract", entries, chunk=chunk)
        if self._client is None:
            self._client = ForwardClient(self._address)
        try:
            self._client.send(data)
            answer = self._client.receive()
        except OSError:
            answer = None
        if answer == {"ack": chunk}:
            return Reply(Fate.STORED)
        assert answer is None, answer
        self.close()
        return Reply(Fate.AGAIN)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class _Forward(Harness):
    build: Build  # of bytes, by mode

    def receiver(self, context: ReceiverContext) -> Receiver[Any]:
        config = FluentForwardReceiver.Config.model_validate({"type": "fluent_forward", "endpoint": "127.0.0.1:0"})
        return FluentForwardReceiver("contract", config, context)

    def connect(self, endpoints: Mapping[str, str]) -> Connection:
        return _Client(endpoints["forward"], type(self).build)


class _Suite:
    """
    What takes the place of the kit's tests that the protocol has no words for.
    """

    make: Callable[[], Harness]
    _balance: Callable[[Script], Any]

    def test_refused_for_good_is_dropped(self) -> None:
        """
        A chunk that is refused for good is never acknowledged, and leaves nothing behind.
        """
        harness = self.make()
        with running(harness, Script(stored=0, undecodable=1)) as (receiver, intake):
            connection = harness.connect(receiver.endpoints)
            assert connection.send(["1"]) == Reply(Fate.AGAIN)
            connection.close()
        assert not intake.books.stored
        assert intake.books.refused == {"1": 1}

    def test_all_at_random(self) -> None:
        """
        With stored and refused for now mixed, every chunk is stored once in the end.
        """
        assert self._balance(Script(stored=4, retry=3)).again


class ForwardMode(_Forward):
    """
    An array of entries.
    """

    build = staticmethod(forward)


class PackedForwardMode(_Forward):
    """
    Entries as bytes.
    """

    build = staticmethod(packed_forward)


class CompressedPackedForwardMode(_Forward):
    """
    Entries as gzip members.
    """

    build = staticmethod(compressed_forward)


class TestForwardMode(_Suite, receiver_suite(ForwardMode, tells_rejected=False)):  # type: ignore[misc]  # made by the kit
    """
    Forward mode.
    """


class TestPackedForwardMode(_Suite, receiver_suite(PackedForwardMode, tells_rejected=False)):  # type: ignore[misc]  # made by the kit
    """
    PackedForward mode.
    """


class TestCompressedPackedForwardMode(_Suite, receiver_suite(CompressedPackedForwardMode, tells_rejected=False)):  # type: ignore[misc]
    """
    CompressedPackedForward mode.
    """
