"""
What the demo found, and how it shows it.
"""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from meterline.cli.demo.producer import Tally, Usage
from meterline.cli.output import OUTCOMES, balance_line, table
from meterline.errors import MeterlineError
from meterline.printable import printable
from meterline.quantity import Quantity

SHOWN_RECORDS = 3


@dataclass(frozen=True, slots=True)
class Findings:
    """
    What was sent, what the ledger has of it, and what reached the file.
    """

    folder: Path
    sent: Tally
    totals: Mapping[Usage, tuple[Quantity, int]]
    balance: Mapping[str, int]
    lines: Sequence[str]

    def in_file(self) -> Mapping[Usage, Quantity]:
        """
        Add up the file's own lines, exactly.
        """
        sums: dict[Usage, Quantity] = {}
        for line in self.lines:
            record = json.loads(line)
            key = (record["customer_id"], record["dimension_id"])
            sums[key] = sums.get(key, Quantity(0)) + Quantity.parse(record["value"])
        return sums

    def differences(self) -> list[str]:
        """
        Name everything that is not as it must be; nothing, when all is well.
        """
        expected = {key: Quantity.parse(str(count)) for key, count in self.sent.usage.items()}
        recorded = {key: value for key, (value, _) in self.totals.items()}
        found = [
            f"{what}: {_shown(got)}, sent: {_shown(expected)}"
            for what, got in (("the ledger has", recorded), ("the file has", self.in_file()))
            if got != expected
        ]
        twice = [
            record_id
            for record_id, count in Counter(json.loads(line)["id"] for line in self.lines).items()
            if count > 1
        ]
        found += [f"twice in the file: {', '.join(twice)}"] if twice else []
        return found + ([] if _balances(self.balance) else ["the points received do not balance"])


def _shown(sums: Mapping[Usage, Quantity]) -> str:
    return ", ".join(f"{customer}/{dimension}={value}" for (customer, dimension), value in sorted(sums.items()))


def _balances(balance: Mapping[str, int]) -> bool:
    return balance["received"] == sum(balance[name] for name in OUTCOMES)


def show(findings: Findings) -> None:
    """
    Print usage, the balance, a few records, where the files are, and what to do next.

    :raises MeterlineError: something was lost, repeated or invented; the message says what.
    """
    click.echo("\nUsage, from the ledger:")
    rows = [
        (customer, dimension, value, findings.sent.usage[customer, dimension], count)
        for (customer, dimension), (value, count) in sorted(findings.totals.items())
    ]
    numbers = ("recorded", "sent", "records")
    table(("customer", "dimension", *numbers), rows, right=numbers)
    click.echo(f"\nPoints: {balance_line(findings.balance)}")
    _explain(findings.sent)
    if differences := findings.differences():
        raise MeterlineError("comparing what was sent with what was recorded: " + "; ".join(differences))
    sent = sum(findings.sent.usage.values())
    click.secho(
        f"\nProved: {sent} units sent = {sent} in the ledger = {sent} in the file, for every customer and dimension,"
        f" in {len(findings.lines)} records, none twice.",
        fg="green",
    )
    _show_records(findings.lines)
    _show_next(findings.folder)


def _explain(sent: Tally) -> None:
    """
    Say why the balance has points that were not recorded: the demo sent them on purpose.
    """
    for outcome, why in {
        "no_usage": "counters that had not grown since their last report",
        "duplicate": f"call events that the client sent twice ({sent.repeated_logs}): counted once",
        "unmatched": "POST requests: no rule bills them",
        "quarantined": f"requests without a customer ({sent.without_customer}): kept with a reason, billed to nobody",
    }.items():
        click.echo(f"  {outcome:<12} {why}")


def _show_records(lines: Sequence[str]) -> None:
    click.echo(f"\nSome of the {len(lines)} records:")
    for line in [*lines[: SHOWN_RECORDS - 1], *lines[-1:]]:
        click.echo(f"  {printable(line)}")


def _show_next(folder: Path) -> None:
    config = folder / "meterline.yaml"
    click.echo(f"\nFiles, in {folder}/:")
    for name, what in {
        "meterline.yaml": "the config: receivers, rules, exporters",
        "meterline.db": "the ledger, a SQLite file",
        "usage.ndjson": "the records, as the file exporter delivered them",
        "gateway.log": "what the gateway said",
    }.items():
        click.echo(f"  {name:<16} {what}")
    program = _program()
    commands = {
        f"{program} totals {config}": "the table above, at any time; --json for programs",
        f"{program} quarantine ls {config}": "what could not be billed, and why",
        f"{program} run {config}": "this gateway again, to send to yourself",
        f"{program} init": "a commented config to start your own from",
    }
    click.echo("\nNext:")
    width = max(map(len, commands))
    for line, what in commands.items():
        click.echo(f"  {line:<{width}}  {what}")


def _program() -> str:
    """
    Return how this program can be called from here: by its name when the shell finds it, else as it was called.
    """
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m meterline"
    return called.name if shutil.which(called.name) else str(called)
