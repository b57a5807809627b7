"""
The registry of plugins: found by entry point, loaded when used, and what is said of one that is not right.
"""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from meterline import plugins
from meterline.config import Config, Diagnostic
from meterline.plugins import (
    BrokenPluginError,
    Kind,
    UnknownPluginError,
    available,
    load,
    load_exporter,
    load_receiver,
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """
    Return a function that pretends that entry points are installed: ``installed("exporter", name="module:Class")``.
    """

    def pretend(kind: Kind, **values: str) -> None:
        entries = {name: EntryPoint(name, value, plugins.GROUPS[kind]) for name, value in values.items()}
        real = plugins._entries
        monkeypatch.setattr(plugins, "_entries", lambda asked: {**real(asked), **(entries if asked == kind else {})})

    return pretend


def test_built_ins_come_through_the_same_door() -> None:
    """The shipped plugins are entry points like any other, and are what they say."""
    receivers = {"files", "fluent_forward", "json", "loki", "otlp", "prometheus", "usage", "vector"}
    assert set(available("receiver")) == receivers
    assert set(available("exporter")) == {"console", "faulty", "file", "fluentd", "http", "otlp"}
    for kind in plugins.GROUPS:
        for name in available(kind):
            assert (load(kind, name).spec.name, load(kind, name).spec.kind) == (name, kind)


@pytest.mark.parametrize(
    ("name", "remedy"), [("fiel", "did you mean `file`?"), ("zzz", "known: console, faulty, file, fluentd, http, otlp")]
)
def test_an_unknown_name_comes_with_a_suggestion(name: str, remedy: str) -> None:
    """What was probably meant, or else what there is."""
    with pytest.raises(UnknownPluginError, match="no exporter plugin") as caught:
        load_exporter(name)

    assert caught.value.help == remedy


def test_kinds_do_not_mix() -> None:
    """An exporter is no receiver, though both may have a name."""
    assert load_receiver("otlp") is not load_exporter("otlp")
    with pytest.raises(UnknownPluginError):
        load_receiver("file")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("meterline.exporters.no_such:Exporter", "No module named"),
        ("meterline.exporters.file:NoSuch", "has no attribute"),
        ("meterline.config:Config", "it is not a Exporter"),
        ("meterline.receivers.otlp:OtlpReceiver", "it is not a Exporter"),
        ("meterline.config:load_config", "it is not a Exporter"),
    ],
)
def test_a_broken_plugin_is_named(installed: Callable[..., None], value: str, words: str) -> None:
    """One that does not import, or is something else, is an error that names it and its entry point."""
    installed("exporter", broken=value)

    with pytest.raises(BrokenPluginError, match=words) as caught:
        load_exporter("broken")

    assert value in str(caught.value)


def test_a_broken_plugin_is_an_error_of_the_config_that_names_it(
    installed: Callable[..., None], errors: Callable[..., tuple[Diagnostic, ...]]
) -> None:
    """It stands at the section, beside the other errors of the file."""
    installed("exporter", broken="no_such_package:Exporter")

    found = errors("ledger: {path: x, pth: y}\nexporters:\n  broken: {}\n")

    assert [(each.code, each.line, each.column) for each in found] == [("ML020", 1, 19), ("ML031", 3, 3)]


def test_a_broken_plugin_that_nobody_names_breaks_nothing(
    installed: Callable[..., None], section: Callable[..., Config]
) -> None:
    """A plugin is loaded when a config names it, and only then."""
    installed("exporter", broken="no_such_package:Exporter")

    assert section("exporters: {usage: {type: file, path: x.ndjson}}").exporters["usage"].type == "file"


def test_loading_a_config_imports_only_what_it_names() -> None:
    """An exporter's libraries stay out of a process that does not use it."""
    program = (
        "import sys, pathlib, tempfile\n"
        "from meterline.config import load_config\n"
        "path = pathlib.Path(tempfile.mkdtemp()) / 'm.yaml'\n"
        "path.write_text('ledger: {path: x}\\nexporters: {file: {path: y}}\\n')\n"
        "load_config(path, {})\n"
        "print(sorted(name for name in sys.modules if name.startswith(('meterline.exporters.', 'meterline.receivers.'))))\n"
    )
    result: Any = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )

    assert "meterline.exporters.file" in result.stdout
    assert "fluentd" not in result.stdout
    assert "receivers" not in result.stdout
