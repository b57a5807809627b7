"""
Kill rounds: a real gateway is killed again and again under load, and in the end nothing may be lost, doubled or
invented.

``python -m meterline.testing.kill --rounds 100 --seed 7`` prints the verdict. Each round starts the gateway, and
kills it with SIGKILL: at a random moment, or at a fault point (``meterline.faultpoints``). The senders live on and
send each request again until it is answered. After the last round the gateway runs until everything is delivered;
then the ledger and what every exporter delivered are compared with the senders' journals. The folder is kept when
something was wrong.
"""

import contextlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from meterline.testing.evidence import balance, check_balance, delivered_everywhere, file_tail, ledger_records
from meterline.testing.process import wait_until
from meterline.testing.sender import Sender, join_all
from meterline.testing.sinks import Sinks
from meterline.testing.site import Site
from meterline.testing.verdict import Verdict, judge
from meterline.testing.workload import Workload

RANDOM_MOMENT: Final = ""
TRIGGERS: Final[Mapping[str, int]] = {
    RANDOM_MOMENT: 28,
    "intake.before_commit": 8,
    "intake.after_commit": 8,
    "snapshot.before_commit": 14,
    "snapshot.after_commit": 14,
    "delivery.before_form": 4,
    "delivery.after_form": 4,
    "delivery.before_settle": 6,
    "delivery.after_settle": 4,
    "file.before_fsync": 10,
}
"""How many of 100 rounds are killed where."""

PATIENCE_SECS: Final = 5.0
DRAIN_SECS: Final = 30.0


@dataclass(slots=True)
class Report:
    """
    What happened over the rounds, and the verdicts at the end: one for the ledger, one for each exporter.
    """

    seed: int
    rounds: int = 0
    unanswered_kills: int = 0
    replays: int = 0
    tails_cut: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    start_secs: list[float] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def snapshot_kills(self) -> int:
        """
        Return how many kills fell into a snapshot.
        """
        return sum(count for name, count in self.kills.items() if name.startswith("snapshot."))

    @property
    def passed(self) -> bool:
        """
        Say whether every verdict is clean and nothing else went wrong.
        """
        return not self.failures and all(verdict.passed for verdict in self.verdicts)

    def __str__(self) -> str:
        slowest = f"{max(self.start_secs):.2f}" if self.start_secs else "-"
        lines = [
            f"seed {self.seed}: {self.rounds} rounds, slowest start {slowest} s",
            f"kills with an unanswered request: {self.unanswered_kills}; in a snapshot: {self.snapshot_kills}",
            f"rounds with a replay recognised: {self.replays}; file tails cut: {self.tails_cut}",
            *(str(verdict) for verdict in self.verdicts),
            *(f"failed: {failure}" for failure in self.failures),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Plan:
    """
    One run. ``changes`` are those of ``meterline.testing.child``; ``exporters`` name kinds of ``Sinks``.
    """

    seed: int
    rounds: int = 10
    senders: int = 4
    exporters: tuple[str, ...] = ("file", "http", "otlp", "fluentd", "faulty")
    changes: tuple[str, ...] = ("snapshot_points=100",)
    triggers: Mapping[str, int] = field(default_factory=lambda: TRIGGERS)
    pause_secs: float = 0.01


class KillRounds:
    """
    Runs a plan in a folder.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.report = Report(plan.seed)
        self._random = random.Random(plan.seed)
        self._sinks = Sinks(plan.exporters, folder)
        wrapper = ("-m", "meterline.testing.child", ",".join(plan.changes)) if plan.changes else ("-m", "meterline")
        self._site = Site(folder, exporters=self._sinks.config(), wrapper=wrapper)
        self._gateway = self._site.gateway
        self._senders: list[Sender] = []
        self._duplicates = 0

    def run(self) -> Report:
        """
        Run all rounds, drain, and judge.
        """
        with self._sinks, self._gateway:
            try:
                self._first_start()
                for trigger in self._schedule():
                    self._round(trigger)
                self._drain()
            except (AssertionError, TimeoutError) as error:
                self.report.failures.append(str(error))
            finally:
                for sender in self._senders:
                    sender.abandon()
            self._gateway.kill()
            self._judge()
        return self.report

    def _schedule(self) -> Iterator[str]:
        """
        Yield as many triggers as there are rounds, each kind in its share, in random order.
        """
        weighted = [name for name, weight in self.plan.triggers.items() for _ in range(weight)]
        self._random.shuffle(weighted)
        for index in range(self.plan.rounds - 1):  # the first start is a round too
            yield weighted[index % len(weighted)]

    def _first_start(self) -> None:
        """
        Let the rules be committed before the first counter starts, so that every increment counts.
        """
        self._gateway.start()
        self._senders = [
            Sender(Workload(self.plan.seed, f"s{index}"), self._site.target, pause_secs=self.plan.pause_secs)
            for index in range(self.plan.senders)
        ]
        for sender in self._senders:
            sender.start()
        time.sleep(self._random.uniform(0.1, 0.3))
        self._kill(RANDOM_MOMENT)

    def _round(self, trigger: str) -> None:
        begin = time.monotonic()
        if trigger == RANDOM_MOMENT:
            self._gateway.start()
            self.report.start_secs.append(time.monotonic() - begin)
            time.sleep(self._random.uniform(0.02, 0.6))
            self._kill(trigger)
            return
        self._gateway.start_armed(f"{trigger}:{self._random.randint(1, 3)}")
        self._kill(trigger if self._gateway.wait(PATIENCE_SECS) else RANDOM_MOMENT)

    def _kill(self, trigger: str) -> None:
        self._gateway.kill()
        self.report.rounds += 1
        self.report.kills[trigger] += 1
        self.report.tails_cut += file_tail(self.folder) > 0
        time.sleep(0.02)  # lets the senders' calls end, which the counts below read
        unanswered = sum(sent.unanswered for sender in self._senders for sent in sender.journal.entries[-2:])
        self.report.unanswered_kills += unanswered > 0
        duplicates = balance(self.folder)["duplicate"]
        self.report.replays += duplicates > self._duplicates
        self._duplicates = duplicates

    def _drain(self) -> None:
        self._gateway.start()
        for sender in self._senders:
            sender.finish()
        join_all(self._senders, PATIENCE_SECS * 4)
        expected = sum(len(sent.request.effects) for s in self._senders for sent in s.journal.answered())
        with contextlib.suppress(TimeoutError):  # what is missing is named by the verdicts
            wait_until(lambda: delivered_everywhere(self.folder, expected), DRAIN_SECS, "delivery", every_secs=0.1)
        code = self._gateway.terminate()
        assert code == 0, f"stopping the gateway by SIGTERM: exit {code}\n{self._gateway.output()[-2000:]}"

    def _judge(self) -> None:
        try:
            check_balance(self.folder)
        except AssertionError as error:
            self.report.failures.append(str(error))
        journals = [sender.journal for sender in self._senders]
        sources = {"ledger": lambda: ledger_records(self.folder), **self._sinks.found()}
        for where, read in sources.items():
            try:
                records = read()
            except Exception as error:  # noqa: BLE001 - a place that cannot be read is a finding like any other
                self.report.failures.append(f"reading {where}: {error!r}")
            else:
                self.report.verdicts.append(judge(where, self.plan.seed, journals, records))


def run(plan: Plan, folder: Path) -> Report:
    """
    Run kill rounds in an empty folder, and leave there what happened.
    """
    return KillRounds(plan, folder).run()


@click.command()
@click.option("--rounds", default=100, show_default=True, help="How often the gateway is killed.")
@click.option("--seed", default=None, type=int, help="The seed of a run before; by default a new one.")
@click.option("--senders", default=4, show_default=True)
@click.option("--change", "changes", multiple=True, help="A change of meterline.testing.child, as answer_early.")
def main(rounds: int, seed: int | None, senders: int, changes: Sequence[str]) -> None:
    """
    Kill a gateway under load, and say what was lost, doubled or invented.
    """
    chosen = random.SystemRandom().randrange(10**6) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="meterline-kill-"))
    plan = Plan(chosen, rounds, senders, changes=("snapshot_points=100", *changes))
    report = run(plan, folder)
    click.echo(str(report))
    if not report.passed:
        click.echo(f"the run is kept in {folder}")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
