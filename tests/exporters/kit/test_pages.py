"""
The READMEs of exporters that are made from the code are up to date.
"""

from pathlib import Path

from meterline.testing.plugin_pages import exporter_pages

ROOT = Path(__file__).resolve().parents[3]


def test_exporter_readmes_are_up_to_date() -> None:
    """
    Each made README is what ``python docs/generate.py --write`` makes.
    """
    pages = exporter_pages(ROOT)
    assert {"exporters/file/README.md", "exporters/http/README.md"} <= pages.keys()
    assert [name for name, make in pages.items() if (ROOT / name).read_text("utf-8") != make()] == []
