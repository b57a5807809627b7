"""
``meterline run``: one gateway and its telemetry, from a config until a signal.
"""

import gc
from pathlib import Path

import click
import structlog

from meterline.cli.configs import CONFIG, read_config
from meterline.cli.signals import StopSignal
from meterline.config import Config
from meterline.errors import FatalError
from meterline.gateway import Gateway
from meterline.telemetry import Telemetry, configure_logs

_LOOK_SECS = 0.2
_COLLECT_AFTER = (100_000, 50, 1_000)


@click.command(name="run")
@CONFIG
def command(config: Path) -> None:
    """
    Run the gateway until SIGTERM or SIGINT.

    Prints a line for each address it is bound to, then `ready`; to standard error where a console exporter has standard
    output. The first signal stops gracefully: no new requests, those in flight finish, what is pending is delivered for
    up to shutdown_timeout_secs. A second one ends the process at once.
    """
    with StopSignal() as stop:
        serve(read_config(config), stop)


def serve(config: Config, stop: StopSignal) -> None:
    """
    Start telemetry, then the gateway; wait; stop them in the opposite order.

    :raises ConfigurationError: an address or the config cannot be used.
    :raises LedgerLockedError: another process owns the ledger.
    :raises FatalError: the gateway cannot go on, for example after a failed fsync.
    """
    configure_logs(config.telemetry.logs.format, config.telemetry.logs.level)
    gateway = Gateway(config)
    telemetry = Telemetry(gateway, structlog.get_logger("meterline"), config.telemetry)
    try:
        telemetry.start()
        gateway.start()
        telemetry.phase("running")
        _calm_the_collector()
        _announce(gateway, telemetry, err=_console(config))
        _wait(gateway, stop)
    finally:
        telemetry.phase("stopping")
        gateway.stop(config.shutdown_timeout_secs)
        telemetry.stop()


def _calm_the_collector() -> None:
    """
    Let Python's cycle collector pass over what was restored, and come less often: the state of streams has no cycles, and
    walking it took a third of the CPU at 1,000,000 streams (benchmarks/run.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _console(config: Config) -> bool:
    return any(exporter.type == "console" for exporter in config.exporters.values())


def _announce(gateway: Gateway, telemetry: Telemetry, *, err: bool) -> None:
    """
    Print ``listening PART PROTOCOL ADDRESS``, one line each, then ``ready``; scripts that bind port 0 read them.
    """
    for name, endpoints in gateway.endpoints.items():
        for protocol, address in endpoints.items():
            click.echo(f"listening receivers.{name} {protocol} {address}", err=err)
    for name, address in telemetry.endpoints.items():
        click.echo(f"listening telemetry.{name} http {address}", err=err)
    click.echo("ready", err=err)


def _wait(gateway: Gateway, stop: StopSignal) -> None:
    while not stop.asked.is_set():
        error = gateway.wait_fatal(_LOOK_SECS)
        if error is not None:
            raise FatalError(f"stopping: {error}") from error
