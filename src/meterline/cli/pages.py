"""
Pages of the documentation that are made from the code; ``docs/generate.py`` writes them, a test fails when they differ.
"""

from collections.abc import Callable, Iterable, Sequence

from pydantic import BaseModel

from meterline.cli.plugins import options
from meterline.doctor.senders import HABITS
from meterline.kernel.reasons import Reason
from meterline.plugins import available, load_exporter, load_receiver
from meterline.serving.auth_config import AuthConfig, KeyConfig, SubjectConfig
from meterline.serving.config import GrpcListenerConfig, HttpListenerConfig, ListenerConfig
from meterline.telemetry.table import METRICS

_MADE = "<!-- Made by docs/generate.py from the code; edit there. -->\n"

KINDS = {
    "raw": "the point, before anything was made of it; a retry is a full intake",
    "claim": "what one rule made of it; a retry repeats that rule",
    "disputed": "a quantity that contradicts what was counted; only a person may release it",
}


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Return a Markdown table; a bar inside a cell is escaped.
    """
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def exporters_table() -> str:
    """
    Return the README's table of exporters, from their specs.
    """
    specs = [load_exporter(name).spec for name in available("exporter")]
    return markdown_table(
        ("exporter", "what it does", "stability"), [(f"`{spec.name}`", spec.summary, spec.stability) for spec in specs]
    )


def receivers_table() -> str:
    """
    Return the README's table of receivers, from their specs.
    """
    specs = [load_receiver(name).spec for name in available("receiver")]
    return markdown_table(
        ("receiver", "what it takes", "stability"),
        [(f"[`{spec.name}`](receivers/{spec.name}/README.md)", spec.summary, spec.stability) for spec in specs],
    )


def senders_table() -> str:
    """
    Return the table of docs/senders.md: what each sender does by itself.
    """
    return markdown_table(
        ("sender", "gives up", "keeps what waits", "a repeat is told by", "loses nothing, or the least, with"), HABITS
    )


def listeners_page() -> str:
    """
    Return docs/listeners.md: the options that every listening receiver has, from their models.
    """
    shared = set(ListenerConfig.model_fields)
    return (
        f"# Listeners\n\n{_MADE}\n"
        "What every receiver that opens a port shares. Receivers that name the same `endpoint` share one port and one\n"
        "server; they must agree on everything but `auth`. What is enforced where: [security.md](security.md).\n\n"
        "## Every listener\n\n"
        + _options_of(HttpListenerConfig, lambda name: name in shared and name != "auth")
        + "\n`auth` of a listener replaces the top-level `auth` for it.\n\n## HTTP\n\n"
        + _options_of(HttpListenerConfig, lambda name: name not in shared)
        + "\n## gRPC\n\n"
        + _options_of(GrpcListenerConfig, lambda name: name not in shared)
        + "\n## `auth`\n\n"
        + _options_of(AuthConfig, lambda _: True)
        + "\nEach of `keys`:\n\n"
        + _options_of(KeyConfig, lambda _: True)
        + "\nEach of `subjects`:\n\n"
        + _options_of(SubjectConfig, lambda _: True)
    )


def _options_of(model: type[BaseModel], wanted: Callable[[str], bool]) -> str:
    rows = [row for row in options(model.model_json_schema()) if wanted(row[0].partition(".")[0])]
    return options_table(rows)


def options_table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    """
    Return options, as ``cli.plugins.options`` gives them, as a Markdown table.
    """
    return markdown_table(
        ("option", "type", "default", "meaning"),
        [(f"`{name}`", kind, f"`{default}`", meaning) for name, kind, default, meaning in rows],
    )


def metrics_page() -> str:
    """
    Return docs/metrics.md, from the one table of metrics.
    """
    rows = [
        (f"`{metric.prometheus_name}`", metric.kind, metric.unit, ", ".join(metric.labels), metric.description)
        for metric in METRICS
    ]
    return (
        f"# Own metrics\n\n{_MADE}\n"
        "On `http://127.0.0.1:8888/metrics` by default (`telemetry.metrics.endpoint`), in the Prometheus text format or\n"
        "OpenMetrics, and pushed over OTLP where `telemetry` says so. All are read from counters that exist anyway, once\n"
        "a scrape, in one look: sums on a page fit together. Counters start at zero with the process; those of\n"
        "exporters are the ledger's and go on. No label holds a customer.\n\n"
        + markdown_table(("name", "kind", "unit", "labels", "meaning"), rows)
    )


def reasons_page() -> str:
    """
    Return docs/reasons.md, from the reason codes.
    """
    kinds = "".join(f"- `{kind}`: {text}\n" for kind, text in KINDS.items())
    rows = [(f"`{reason.code}`", reason.kind, reason.text) for reason in Reason]
    return (
        f"# Why a point is in quarantine\n\n{_MADE}\n"
        "`meterline quarantine ls CONFIG` shows them. The kind says what is kept and what can be done:\n\n"
        f"{kinds}\n" + markdown_table(("reason", "kind", "meaning"), rows)
    )
