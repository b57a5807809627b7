"""
Loading configs from texts.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from meterline.config import Config, ConfigurationErrors, Diagnostic, load_config

MINIMAL = "ledger: {path: ./meterline.db}\nreceivers: {otlp: {grpc: {}}}\n"


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Config]:
    """
    Return a function that loads a text as a config: ``load(text, NAME="value")`` with this environment.
    """

    def read(text: str, /, **environ: str) -> Config:
        path = tmp_path / "meterline.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, environ)

    return read


@pytest.fixture
def section(load: Callable[..., Config]) -> Callable[..., Config]:
    """
    Return a function that loads a text beside a ledger and a receiver.
    """

    def read(text: str, /, **environ: str) -> Config:
        return load(MINIMAL + text, **environ)

    return read


@pytest.fixture
def errors(load: Callable[..., Config]) -> Callable[..., tuple[Diagnostic, ...]]:
    """
    Return a function that gives what is wrong with a text.
    """

    def read(text: str, /, **environ: str) -> tuple[Diagnostic, ...]:
        with pytest.raises(ConfigurationErrors) as caught:
            load(text, **environ)
        return caught.value.diagnostics

    return read
