"""
Finds receivers and exporters through entry points. Each is loaded when a config first names it, and only then.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal, TypeAlias, cast

from meterline.api.exporter import Exporter
from meterline.api.receiver import Receiver
from meterline.errors import ConfigurationError
from meterline.rules.suggest import did_you_mean

Kind: TypeAlias = Literal["receiver", "exporter"]

GROUPS: Final[Mapping[Kind, str]] = {"receiver": "meterline.receivers", "exporter": "meterline.exporters"}
_BASES: Final[Mapping[Kind, type[Any]]] = {"receiver": Receiver, "exporter": Exporter}


class UnknownPluginError(ConfigurationError):
    """
    No plugin of this kind has this name; ``help`` says what was probably meant.
    """

    def __init__(self, kind: Kind, name: str, remedy: str) -> None:
        super().__init__(f"no {kind} plugin `{name}`; {remedy}")
        self.help = remedy


class BrokenPluginError(ConfigurationError):
    """
    A plugin is installed and cannot be used: it does not import, or is not what it says.
    """


def available(kind: Kind) -> tuple[str, ...]:
    """
    Return the names of all installed plugins of a kind, sorted. Loads none.
    """
    return tuple(sorted(_entries(kind)))


def load_receiver(name: str) -> type[Receiver[Any]]:
    """
    Return a receiver's class. Raises UnknownPluginError or BrokenPluginError.
    """
    return cast("type[Receiver[Any]]", load("receiver", name))


def load_exporter(name: str) -> type[Exporter[Any]]:
    """
    Return an exporter's class. Raises UnknownPluginError or BrokenPluginError.
    """
    return cast("type[Exporter[Any]]", load("exporter", name))


def load(kind: Kind, name: str) -> type[Receiver[Any]] | type[Exporter[Any]]:
    """
    Return the class of a plugin of either kind. Raises UnknownPluginError or BrokenPluginError.
    """
    entry = _entries(kind).get(name)
    if entry is None:
        remedy = did_you_mean(name, available(kind)) or f"`meterline plugins ls` lists all {kind}s"
        raise UnknownPluginError(kind, name, remedy)
    try:
        found: Any = entry.load()
    except Exception as error:
        raise BrokenPluginError(f"loading {kind} plugin `{name}` ({entry.value}): {error}") from error
    if not (isinstance(found, type) and issubclass(found, _BASES[kind])):
        raise BrokenPluginError(f"loading {kind} plugin `{name}` ({entry.value}): it is not a {_BASES[kind].__name__}")
    return cast("type[Receiver[Any] | Exporter[Any]]", found)


@cache
def _entries(kind: Kind) -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUPS[kind])}
