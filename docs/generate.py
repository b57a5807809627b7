"""
Make the pages, and parts of pages, that are generated from the code: ``python docs/generate.py --write`` or ``--check``.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from meterline.cli.config_page import configuration_page, schema_text
from meterline.cli.pages import (
    exporters_table,
    listeners_page,
    metrics_page,
    reasons_page,
    receivers_table,
    senders_table,
)
from meterline.testing.plugin_pages import exporter_pages, receiver_pages

ROOT = Path(__file__).resolve().parent.parent

PAGES: dict[str, Callable[[], str]] = {
    "docs/configuration.md": configuration_page,
    "docs/meterline.schema.json": schema_text,
    "docs/metrics.md": metrics_page,
    "docs/reasons.md": reasons_page,
    "docs/listeners.md": listeners_page,
    **exporter_pages(ROOT),
    **receiver_pages(ROOT),
}
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/senders.md": {"habits": senders_table},
    "README.md": {"exporters": exporters_table, "receivers": receivers_table},
}


def wanted() -> dict[Path, str]:
    """
    Return what every generated file must hold.
    """
    texts = {ROOT / name: make() for name, make in PAGES.items()}
    for name, parts in PARTS.items():
        texts[ROOT / name] = (ROOT / name).read_text("utf-8")
        for part, make in parts.items():
            texts[ROOT / name] = replaced(texts[ROOT / name], part, make())
    return texts


def replaced(text: str, part: str, made: str) -> str:
    """
    Put what was made between the part's two comment lines.
    """
    begin, end = f"<!-- {part}: made by docs/generate.py -->\n", f"<!-- {part}: end -->\n"
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"replacing part {part!r}: its two comment lines are not in the file")
    return f"{head}{begin}{made}{end}{tail}"


def main(arguments: list[str]) -> int:
    """
    Write, or check and name what is out of date.
    """
    if arguments not in (["--write"], ["--check"]):
        sys.stderr.write("usage: python docs/generate.py --write | --check\n")
        return 2
    stale = {path: text for path, text in wanted().items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if arguments == ["--write"]:
            path.write_text(text, "utf-8")
        else:
            sys.stderr.write(f"{path.relative_to(ROOT)} is out of date; run: python docs/generate.py --write\n")
    return 1 if stale and arguments == ["--check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
