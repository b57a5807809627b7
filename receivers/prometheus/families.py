"""
What metadata said of metric families: it comes apart from the samples, once a minute, and is remembered across restarts.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from meterline.encodings.prometheus_types import UNKNOWN

_PREFIX: Final = "family:"
_MAX_NAME_BYTES: Final = 1_024
"""Of a family whose type is remembered; nobody has longer names, and there may be many of them."""


class _Known:
    """
    ``stored``: it is on disk as well.
    """

    __slots__ = ("metric_type", "stored")

    def __init__(self, metric_type: int, *, stored: bool) -> None:
        self.metric_type = metric_type
        self.stored = stored


_Names: TypeAlias = OrderedDict[tuple[str, str], _Known]
"""By (tenant, family), the one that was announced last at the end."""


class Families:
    """
    The types of families by principal, tenant and name: nobody says what another's series are. Any thread.

    Beyond ``limit`` of a principal the one that was announced longest ago is forgotten.
    """

    def __init__(self, state: Mapping[str, bytes], limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._of: dict[str, _Names] = {}
        self._leaving: set[str] = set()
        for key, value in state.items():
            if key.startswith(_PREFIX):
                principal, tenant, family = json.loads(key.removeprefix(_PREFIX))
                self._put(principal, (tenant, family), _Known(int(value), stored=True))

    def learn(self, principal: str, tenant: str, said: Iterable[tuple[bytes, int]]) -> dict[str, bytes]:
        """
        Take what a request says, and return what of it is to be remembered; ``stored`` tells that it is.
        """
        changed: dict[str, bytes] = {}
        with self._lock:
            names = self._names(principal)
            for name, metric_type in said:
                if len(name) > _MAX_NAME_BYTES:
                    continue
                place = (tenant, name.decode(errors="replace"))
                known = names.get(place)
                if known is None or known.metric_type != metric_type:
                    known = _Known(metric_type, stored=False)
                self._put(principal, place, known)
                if not known.stored:
                    changed[_key(principal, *place)] = str(metric_type).encode()
            return {**changed, **dict.fromkeys(self._leaving - changed.keys(), b"")} if changed else {}

    def _names(self, principal: str) -> _Names:
        return self._of.setdefault(principal, OrderedDict())

    def _put(self, principal: str, place: tuple[str, str], known: _Known) -> None:
        names = self._names(principal)
        names[place] = known
        names.move_to_end(place)
        self._leaving.discard(_key(principal, *place))
        while len(names) > self._limit:
            left, gone = names.popitem(last=False)
            if gone.stored:
                self._leaving.add(_key(principal, *left))

    def stored(self, remembered: Mapping[str, bytes]) -> None:
        """
        Note that what ``learn`` returned is on disk.
        """
        with self._lock:
            for key, value in remembered.items():
                principal, tenant, family = json.loads(key.removeprefix(_PREFIX))
                known = self._names(principal).get((tenant, family))
                if not value:
                    self._leaving.discard(key)
                elif known is not None and known.metric_type == int(value):
                    known.stored = True

    def types(self, principal: str, tenant: str) -> Callable[[str], int]:
        """
        Return a function from a family's name to its type.
        """
        names = self._names(principal)

        def type_of(family: str) -> int:
            known = names.get((tenant, family))
            return UNKNOWN if known is None else known.metric_type

        return type_of

    def __len__(self) -> int:
        """
        Return how many are known.
        """
        return sum(map(len, self._of.values()))


def _key(principal: str, tenant: str, family: str) -> str:
    return _PREFIX + json.dumps([principal, tenant, family])
