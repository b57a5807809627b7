"""
The options in the plugins' READMEs are those of the code.
"""

import os
from pathlib import Path

import pytest

from meterline.api import ExporterConfig, ReceiverConfig
from meterline.cli.pages import markdown_table
from meterline.cli.plugins import options
from meterline.plugins import Kind, load

BEGIN = "<!-- options: made from the code by tests/receivers/otlp/test_readmes.py -->\n"
END = "<!-- options: end -->\n"
SHARED = {"receiver": set(ReceiverConfig.model_fields), "exporter": set(ExporterConfig.model_fields)}


def own_options(kind: Kind, name: str) -> str:
    """
    Return the table of a plugin's options, without those that every plugin of its kind has.
    """
    rows = options(load(kind, name).Config.model_json_schema())
    own = [row for row in rows if row[0].partition(".")[0] not in SHARED[kind]]
    return markdown_table(("option", "type", "default", "meaning"), [(f"`{row[0]}`", *row[1:]) for row in own])


@pytest.mark.parametrize(("kind", "name"), [("receiver", "otlp"), ("exporter", "otlp"), ("exporter", "fluentd")])
def test_the_readme_has_the_options_of_the_code(root: Path, kind: Kind, name: str) -> None:
    """
    The table between the two comments is the code's; METERLINE_WRITE=1 writes it.
    """
    page = root / f"{kind}s" / name / "README.md"
    text = page.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    wanted = f"{head}{BEGIN}{own_options(kind, name)}{END}{tail}"
    if os.environ.get("METERLINE_WRITE") == "1":
        page.write_text(wanted, "utf-8")

    assert text == wanted
