"""
Items that are set aside, and what stands around them in their request, so that each can be understood and sent again.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from meterline.encodings.json_text import written
from meterline.encodings.otlp_json.wrong import WrongError
from meterline.encodings.rejects import Reject

CONTEXT_BYTES: Final = 4 * 1024 * 1024
"""So much of what stands around items is repeated in all rejects of a request together; beyond it its digest stands."""

MAX_REJECTS: Final = 10_000
"""So many items of a body are set aside each by itself; a sender's mistake is in all of its items, or in few."""

_REST: Final = f"reading request: after {MAX_REJECTS} wrong items the further ones stand together"


class Step:
    """
    One message on the way from the request down to an item, with the key that was gone into.
    """

    def __init__(self, above: "Step | None", message: Mapping[str, Any], name: str, leading: frozenset[str]) -> None:
        """
        ``name``: the key gone into; ``leading``: all keys of the message that lead to items.
        """
        self.above = above
        self.name = name
        self._message = message
        self._leading = leading
        self._head: bytes | None = None
        self._digest = b""

    @property
    def head(self) -> bytes:
        """
        Return the message's own JSON, open at its end, where the key gone into stands.
        """
        if self._head is None:
            rest = {key: value for key, value in self._message.items() if key not in self._leading}
            own = written(rest)[:-1]
            self._head = own + (b',"' if len(own) > 1 else b'"') + self.name.encode() + b'":'
        return self._head

    @property
    def digest(self) -> bytes:
        """
        Return a digest of all messages down to this one.
        """
        if not self._digest:
            above = self.above.digest if self.above else b""
            self._digest = hashlib.blake2b(above + self.head, digest_size=16).digest()
        return self._digest


class Aside:
    """
    The items of one request body that are set aside: so many rejects, and the rest of them in one, whatever their reasons.
    """

    def __init__(self) -> None:
        self.step: Step | None = None
        self._rejects: list[Reject] = []
        self._rest = bytearray()
        self._room = CONTEXT_BYTES

    def put(self, error: WrongError, item: Any, name: str) -> None:
        """
        Set an item aside, as a request that holds it alone; ``name``: the list that it stands in.
        """
        if len(self._rejects) >= MAX_REJECTS:
            self._rest += written(item) + b","
        else:
            self._rejects.append(Reject(error.reason, error.sentence(name), self._alone(written(item))))

    def add(self, reject: Reject) -> None:
        """
        Take a reject that is made already, of bytes that are no JSON.
        """
        if len(self._rejects) >= MAX_REJECTS:
            self._rest += written(reject.item.decode("utf-8", "surrogateescape")) + b","
        else:
            self._rejects.append(reject)

    def mark(self) -> tuple[int, int]:
        """
        Return how much is set aside.
        """
        return len(self._rejects), len(self._rest)

    def back_to(self, mark: tuple[int, int]) -> None:
        """
        Forget what was set aside since: it is part of something larger that is.
        """
        del self._rejects[mark[0] :]
        del self._rest[mark[1] :]

    def all(self) -> list[Reject]:
        """
        Return the rejects.
        """
        if not self._rest:
            return self._rejects
        rest = Reject("undecodable_item", _REST, b"[" + bytes(self._rest[:-1]) + b"]")
        return [*self._rejects, rest]

    def _alone(self, item: bytes) -> bytes:
        steps = []
        step = self.step
        while step is not None:
            steps.append(step)
            step = step.above
        size = sum(len(step.head) for step in steps)
        if size > self._room and self.step is not None:
            return b'{"around":"' + self.step.digest.hex().encode() + b'","item":' + item + b"}"
        self._room -= size
        for step in steps:
            item = step.head + (item if step.name in _SINGLE else b"[" + item + b"]") + b"}"
        return item


_SINGLE: Final = frozenset({"gauge", "sum", "histogram", "exponentialHistogram", "summary"})
