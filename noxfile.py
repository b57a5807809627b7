"""
The one command surface: ``nox -s lint types tests docs bench proto``. CI runs these very sessions.

Sessions use the environment that nox itself is installed in (``make check`` makes it), so nothing is installed twice.
"""

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "docs", "proto"]
nox.options.error_on_external_run = False

LINTED = ("src", "receivers", "exporters", "tests", "benchmarks", "docs", "proto", "noxfile.py", "setup.py")


@nox.session
def lint(session: nox.Session) -> None:
    """
    Check style, format and the layers that plugins and pure parts must keep to.
    """
    session.run("ruff", "check", *LINTED)
    session.run("ruff", "format", "--check", *LINTED)
    session.run("lint-imports")
    session.run("interrogate", "tests")


@nox.session
def types(session: nox.Session) -> None:
    """
    Check types, strictly, of the core and every plugin under its import name.
    """
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """
    Run the quick tests, or what is asked for after ``--``.
    """
    session.run("python", "-m", "pytest", *(session.posargs or ["-m", "not slow and not peer"]))


@nox.session
def docs(session: nox.Session) -> None:
    """
    Check that generated pages are up to date, and that what docs and examples show runs; ``-- --write`` regenerates.
    """
    session.run("python", "docs/generate.py", *(session.posargs or ["--check"]))
    session.run("python", "-m", "pytest", "-m", "not slow and not peer", "tests/docs", "tests/examples")


@nox.session
def bench(session: nox.Session) -> None:
    """
    Run the benchmarks, side by side with the peers; arguments after ``--`` go to them.
    """
    session.run("python", "benchmarks/run.py", *session.posargs, env={"PYTHONSAFEPATH": ""})


@nox.session
def proto(session: nox.Session) -> None:
    """
    Check that the generated protobuf code is what the sources make; ``-- --write`` regenerates it.
    """
    session.run("python", "proto/generate.py", *(session.posargs or ["--check"]))
