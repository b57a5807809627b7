"""
`meterline plugins` and `meterline version`.
"""

import json
from collections.abc import Callable

from click.testing import CliRunner, Result

from meterline import __version__
from meterline.cli import main
from meterline.cli.plugins import options, type_text

BUILT_IN = {"console", "faulty", "file", "fluentd", "http", "otlp"}


def meterline(*arguments: str) -> Result:
    """
    Run a command in this process.
    """
    return CliRunner().invoke(main, list(arguments))


def test_ls_lists_all(golden: Callable[[str, str], None]) -> None:
    """All built-in plugins are listed, with what they do, as text and as JSON lines."""
    text, lines = meterline("plugins", "ls"), meterline("plugins", "ls", "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]

    golden("plugins-ls.txt", text.output)
    assert {fact["name"] for fact in found if fact["kind"] == "exporter"} == BUILT_IN
    assert {fact["name"] for fact in found if fact["kind"] == "receiver"} >= {"otlp", "usage"}
    assert all(set(fact) == {"kind", "name", "stability", "summary"} for fact in found)


def test_show(golden: Callable[[str, str], None]) -> None:
    """Every option of a plugin stands there with its type, default and meaning."""
    result = meterline("plugins", "show", "file")

    assert result.exit_code == 0
    golden("plugins-show-file.txt", result.output)


def test_show_knows_both_kinds_of_a_name() -> None:
    """A name that a receiver and an exporter share shows both; nested options have dotted names."""
    text = meterline("plugins", "show", "otlp").output
    kinds = [json.loads(line)["kind"] for line in meterline("plugins", "show", "otlp", "--json").stdout.splitlines()]

    assert kinds == ["receiver", "exporter"]
    assert "grpc.keepalive.time_secs" in text


def test_every_option_of_every_plugin_has_a_meaning() -> None:
    """No option is without its sentence."""
    for line in meterline("plugins", "ls", "--json").stdout.splitlines():
        for shown in meterline("plugins", "show", json.loads(line)["name"], "--json").stdout.splitlines():
            plugin = json.loads(shown)
            assert [option for option in options(plugin["schema"]) if not option[3]] == [], plugin["name"]


def test_show_of_an_unknown_name() -> None:
    """An unknown name: what was probably meant, and exit code 78."""
    result = meterline("plugins", "show", "fiel")

    assert result.exit_code == 78
    assert "file" in result.output


def test_type_text() -> None:
    """JSON Schema's types in words."""
    schemas = [
        {"type": "integer"},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"enum": ["a", "b"]},
        {"type": "array", "items": {"type": "string"}},
        {"const": True},
        {"type": "string", "format": "path"},
    ]

    assert [type_text(schema, {}) for schema in schemas] == [
        "integer",
        "string",
        "a | b",
        "list of string",
        "true",
        "path",
    ]


def test_version() -> None:
    """The version and the kernel stand in both forms."""
    facts = json.loads(meterline("version", "--json").stdout)

    assert (facts["meterline"], facts["kernel"]) == (__version__, "python")
    assert f"meterline {__version__}\nkernel python\n" in meterline("version").output
