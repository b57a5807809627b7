"""
``meterline doctor``: looks at what stands before Meterline.
"""

from collections.abc import Iterable
from pathlib import Path

import click

from meterline.cli.output import json_line
from meterline.doctor.agents.logstash import NAME as PIPELINE
from meterline.doctor.agents.logstash import SETTINGS_NAME as SETTINGS
from meterline.doctor.examine import examine
from meterline.doctor.findings import Finding, Report
from meterline.doctor.senders import HABITS
from meterline.errors import ConfigurationError
from meterline.printable import printable

_COLOURS = {"loses": "red", "duplicates": "red", "distorts": "yellow"}


@click.group(name="doctor")
def command() -> None:
    """
    Look for what can spoil the sum before it reaches Meterline.
    """


@command.command(name="agents")
@click.argument("files", type=click.Path(path_type=Path, dir_okay=False), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each finding, one a line.")
def agents(files: tuple[Path, ...], *, as_json: bool) -> None:
    """
    Read agents' own configs and list each way in which they can lose or duplicate usage.

    Knows the OpenTelemetry Collector, Vector (YAML, TOML), Logstash (pipelines and logstash.yml), Grafana Alloy and Agent,
    Fluent Bit (YAML and classic), Prometheus and Promtail. Exit code 1 when there is something to change.
    """
    reports, errors = _examined(files)
    for path, report in reports:
        for finding in report.findings if as_json else ():
            json_line(_facts(path, report, finding))
        if not as_json:
            _show(path, report)
    agents = {report.agent for _, report in reports}
    if not as_json and PIPELINE in agents and SETTINGS not in agents:
        click.echo("A Logstash pipeline does not say where its queue is: give its logstash.yml, too.")
    if errors:
        raise ConfigurationError("\n".join(errors))
    if any(report.findings for _, report in reports):
        raise SystemExit(1)


def _examined(files: Iterable[Path]) -> tuple[list[tuple[Path, Report]], list[str]]:
    """
    Examine each file; one that cannot be read does not keep the others from being shown.
    """
    reports, errors = [], []
    for path in files:
        try:
            reports.append((path, examine(path)))
        except ConfigurationError as error:
            errors.append(str(error))
    return reports, errors


@command.command(name="senders")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each sender, one a line.")
def senders(*, as_json: bool) -> None:
    """
    Say what each sender does by itself: when it gives up, where it keeps what waits, what a resend is told by.

    For senders that have a config of their own, `meterline doctor agents` looks at it.
    """
    for habit in HABITS:
        if as_json:
            json_line(habit._asdict())
        else:
            click.echo(f"{habit.sender}\n  gives up: {habit.gives_up}\n  keeps:    {habit.keeps}")
            click.echo(f"  a repeat: {habit.repeat}\n  set:      {habit.setting}\n")


def _facts(path: Path, report: Report, finding: Finding) -> dict[str, object]:
    return {
        "file": str(path),
        "agent": report.agent,
        "line": finding.line,
        "effect": finding.effect,
        "what": finding.what,
        "why": finding.why,
        "setting": finding.setting,
    }


def _show(path: Path, report: Report) -> None:
    count = len(report.findings)
    said = "nothing that can lose or duplicate usage" if not count else f"{count} to change"
    click.echo(printable(f"{path}: {report.agent}: {said}"))
    for finding in report.findings:
        effect = click.style(finding.effect, fg=_COLOURS[finding.effect], bold=True)
        click.echo(f"\n  {printable(str(path))}:{finding.line}: {effect}: {printable(finding.what)}")
        click.echo(f"    why: {printable(finding.why)}")
        click.echo(f"    set: {printable(finding.setting)}")
    if count:
        click.echo()
