"""
``meterline demo``: the main job, once, with real parts, and the proof that nothing was lost.
"""

import random
from importlib.resources import files
from pathlib import Path

import click

from meterline.cli.configs import read_config
from meterline.cli.demo.child import GatewayProcess
from meterline.cli.demo.producer import Producer, Tally, plain_sdk
from meterline.cli.demo.report import Findings, show
from meterline.cli.signals import StopSignal
from meterline.cli.totals import expander
from meterline.errors import MeterlineError
from meterline.ledger import open_reader

MARKER = ".made-by-meterline-demo"
FILES = ("meterline.yaml", "gateway.log", "usage.ndjson")


@click.command(name="demo", short_help="Run the main job once, with real parts, and prove its sums.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("meterline-demo"),
    show_default=True,
    help="Where config, ledger and records go; files of an earlier demo are replaced.",
)
@click.option("--secs", type=click.FloatRange(0.5, 600), default=5.0, show_default=True, help="How long to send.")
@click.option("--seed", type=int, help="Repeat the traffic of an earlier demo.")
def command(folder: Path, *, secs: float, seed: int | None) -> None:
    """
    Run the main job once, with real parts: an OpenTelemetry SDK sends, a gateway meters, a file receives.

    Ends with what each customer used, the proof that it equals what was sent, and what to do next. Uses free ports
    of this machine and writes into one folder only.
    """
    plain_sdk()
    prepare(folder)
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    click.echo(f"demo in {folder}/ with seed {seed}")
    tally = play(folder, secs, seed)
    show(findings(folder, tally))


def prepare(folder: Path) -> None:
    """
    Make the folder new. Raises ClickException for a folder that has something else in it.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise click.ClickException(f"preparing {folder}: it has files that are not the demo's; name another with --dir")
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("meterline.db*"), *(folder / name for name in FILES)]:
        old.unlink(missing_ok=True)
    (folder / MARKER).touch()
    (folder / "meterline.yaml").write_text(
        files("meterline.cli.demo").joinpath("demo.yaml").read_text("utf-8"), "utf-8"
    )


def play(folder: Path, secs: float, seed: int) -> Tally:
    """
    Start the gateway, send for a while, stop both gracefully; return what was sent.
    """
    gateway = GatewayProcess(folder / "meterline.yaml", folder / "gateway.log")
    with StopSignal() as stop:
        endpoints = gateway.start()
        try:
            for place, address in endpoints.items():
                click.echo(f"  gateway: {place} {address}")
            producer = Producer(endpoints["receivers.otlp grpc"], seed)
            click.echo(f"  sending metrics and logs for {secs:g} s ...")
            producer.run(secs, stop.asked)
            producer.finish()
        finally:
            code = gateway.stop()
    if code:
        raise MeterlineError(f"stopping the gateway: it ended with exit code {code}; see {folder / 'gateway.log'}")
    return producer.tally


def findings(folder: Path, tally: Tally) -> Findings:
    """
    Read back what the ledger and the file have.
    """
    with open_reader(read_config(folder / "meterline.yaml").ledger.path) as reader:
        totals = reader.totals(expander())
        balance = reader.balance()
    return Findings(
        folder=folder,
        sent=tally,
        totals={(total.customer, total.dimension): (total.value, total.count) for total in totals},
        balance=balance,
        lines=(folder / "usage.ndjson").read_text("utf-8").splitlines(),
    )
