"""
What is stored with each receipt: which file, and how much of it is certain.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finish:
    """
    A file that is to be renamed: its inode, its certain length, and its name when finished.
    """

    inode: int
    length: int
    name: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """
    The current file: how many there were, its inode, its certain length, and when its first record came (ns; 0: none yet).
    """

    generation: int
    inode: int
    length: int
    since: int = 0
    finish: Finish | None = None

    def pack(self) -> bytes:
        """
        Return it as compact JSON.
        """
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @staticmethod
    def unpack(data: bytes) -> "Checkpoint":
        """
        Read what ``pack`` wrote.
        """
        fields = json.loads(data)
        finish = fields.pop("finish", None)
        return Checkpoint(**fields, finish=Finish(**finish) if finish else None)

    def grown(self, nbytes: int, now_ns: int) -> "Checkpoint":
        """
        Return it after a batch was written; what was to be finished before is finished by now.
        """
        return replace(self, length=self.length + nbytes, since=self.since or now_ns, finish=None)

    def rotated(self, path: Path, next_inode: int, now_ns: int) -> "Checkpoint":
        """
        Return the one that begins the next file and asks for this one to be renamed.
        """
        finish = Finish(self.inode, self.length, finished_name(path, self.generation, now_ns))
        return Checkpoint(self.generation + 1, next_inode, 0, finish=finish)


def finished_name(path: Path, generation: int, now_ns: int) -> str:
    """
    Return ``usage-20261122T190000Z-000001.ndjson`` for ``usage.ndjson``.
    """
    stem, dot, suffixes = path.name.partition(".")
    if not stem:
        stem, dot, suffixes = path.name, "", ""
    moment = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{stem}-{moment}-{generation:06d}{dot}{suffixes}"
