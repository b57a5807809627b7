"""
Coverage-guided fuzzing of a decoder by atheris: ``python tests/fuzz/run.py TARGET [--seconds N] [--seed N] [--corpus FOLDER]``.

``--help`` names the targets; ``all`` is all of them, chosen by the first byte. Runs for hours as well as for seconds. What
fails is left as ``crash-*`` (``timeout-*``, ``oom-*``) in the folder it was started in; ``--again FILE`` shows it again.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import atheris
import structlog


def main() -> None:
    """Read the command line, and fuzz."""
    with atheris.instrument_imports(include=["meterline"], exclude=["meterline.testing", "meterline._proto"]):
        import targets  # noqa: PLC0415 - only what is imported here is instrumented
    known = targets.targets()
    options = arguments(list(known))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        for number, body in enumerate(targets.corpus()):
            Path(folder, str(number)).write_bytes(body)
        atheris.Setup(libfuzzer(options, folder), known[options.target])
        atheris.Fuzz()  # ends the process


def arguments(names: list[str]) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("target", choices=names)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="0: any")
    parser.add_argument("--corpus", type=Path, help="folder that what is found interesting is kept in")
    parser.add_argument("--again", type=Path, help="a file left by a failure")
    return parser.parse_args()


def libfuzzer(options: argparse.Namespace, folder: str) -> list[str]:
    """Return the engine's own command line. A second for one input is a hang; 1 GiB is too much."""
    if options.again is not None:
        return [sys.argv[0], str(options.again)]
    limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=20000"]
    kept = [str(options.corpus)] if options.corpus is not None else []
    return [sys.argv[0], f"-max_total_time={options.seconds}", f"-seed={options.seed}", *limits, *kept, folder]


if __name__ == "__main__":
    main()
