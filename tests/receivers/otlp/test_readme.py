"""
The options in the receiver's README are those of the code.
"""

import os
from pathlib import Path

from meterline.api import ReceiverConfig
from meterline.cli.pages import markdown_table
from meterline.cli.plugins import options
from meterline.receivers.otlp import OtlpReceiver

BEGIN = "<!-- options: made from the code by tests/receivers/otlp/test_readme.py -->\n"
END = "<!-- options: end -->\n"


def test_the_readme_has_the_options_of_the_code(root: Path) -> None:
    """
    The table between the two comments is the code's; METERLINE_WRITE=1 writes it.
    """
    page = root / "receivers" / "otlp" / "README.md"
    text = page.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    rows = [
        row for row in options(OtlpReceiver.Config.model_json_schema()) if row[0] not in ReceiverConfig.model_fields
    ]
    table = markdown_table(("option", "type", "default", "meaning"), [(f"`{row[0]}`", *row[1:]) for row in rows])
    wanted = f"{head}{BEGIN}{table}{END}{tail}"
    if os.environ.get("METERLINE_WRITE") == "1":
        page.write_text(wanted, "utf-8")

    assert text == wanted
