"""
``meterline record``: one usage record by hand, through the door that programs use.
"""

import json
import os
import re
import shlex
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import urllib3

from meterline.cli.configs import read_config
from meterline.cli.output import json_line
from meterline.errors import ConfigurationError, MeterlineError
from meterline.kernel.reasons import BY_CODE
from meterline.printable import printable
from meterline.times import rfc3339

_PATH: Final = "/v1/usage"
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - to be called, not bound
_ANSWER_BYTES: Final = 1_048_576


class Target(NamedTuple):
    """
    Where to send, who sends, and how to wait for the answer. ``token``: "" when there is none.
    """

    url: str
    token: str
    ca_file: Path | None
    timeout_secs: float


def _pairs(_ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key or key in pairs:
            raise click.BadParameter(f"{value!r} is no key=value with a key of its own", param=param)
        pairs[key] = text
    return pairs


def _variable(_ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise click.BadParameter(f"{value!r} is no name of an environment variable", param=param)
    return value


@click.command(name="record")
@click.argument("config", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--customer", required=True, help="Whose usage it is.")
@click.option("--dimension", required=True, help="What was used.")
@click.option("--value", required=True, help="How much: a plain decimal, kept exactly.")
@click.option("--timestamp", help="When: RFC 3339, or a count since 1970.  [default: now]")
@click.option(
    "--metadata", multiple=True, callback=_pairs, metavar="KEY=VALUE", help="Goes with the record; may be repeated."
)
@click.option("--idempotency-key", help="Of the customer's records the one with this key.")
@click.option("--endpoint", metavar="URL", help="Of the gateway, in place of CONFIG: http://host:port.")
@click.option(
    "--token-env",
    default="METERLINE_API_KEY",
    show_default=True,
    callback=_variable,
    help="The environment variable that has the API key, if there is one.",
)
@click.option("--api-key-file", type=click.Path(dir_okay=False, path_type=Path), help="A file that has the API key.")
@click.option("--ca-file", type=click.Path(dir_okay=False, path_type=Path), help="CA certificates of the gateway, PEM.")
@click.option(
    "--timeout-secs", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Wait so long for an answer."
)
@click.option("--dry-run", is_flag=True, help="Send nothing; print the same request as a curl line.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    config: Path | None, *, endpoint: str | None, token_env: str, dry_run: bool, as_json: bool, **more: Any
) -> None:
    """
    Record usage by hand, through a running gateway.

    CONFIG says where its `usage` receiver is, unless --endpoint does. Exit code 1: it is in quarantine, or not stored. The
    same again, with the same --timestamp, counts once.
    """
    url = _url(config, endpoint)
    item = _item(more)
    if dry_run:
        click.echo(curl(url, item, _shell(token_env, more["api_key_file"]), more["ca_file"]))
        return
    token = _token(token_env, more["api_key_file"])
    result = send(Target(url, token, more["ca_file"], more["timeout_secs"]), item)
    if as_json:
        json_line(result)
    else:
        click.echo(printable(said(item, result)))
    raise SystemExit(1 if result.get("outcome") == "quarantined" else 0)


def _url(config: Path | None, endpoint: str | None) -> str:
    if endpoint is None:
        if config is None:
            raise click.UsageError("nothing says where the gateway is; give CONFIG or --endpoint")
        endpoint = _configured(config)
    if not re.fullmatch(r"https?://[^\s/?#@]+/?", endpoint):
        raise click.UsageError(f"{endpoint!r} is no endpoint; write http://host:port or https://host:port")
    return endpoint.rstrip("/") + _PATH


def _configured(path: Path) -> str:
    """
    Return the URL of the first usage receiver with HTTP.
    """
    for name, options in read_config(path).receivers.items():
        listener: Any = getattr(options, "http", None)
        if options.type != "usage" or listener is None:
            continue
        host, _, port = listener.endpoint.rpartition(":")
        if listener.endpoint.startswith("unix:") or port == "0":
            raise ConfigurationError(
                f"finding receiver {name!r}: nobody can call {listener.endpoint!r} from here; give --endpoint"
            )
        return f"{'http' if listener.tls is None else 'https'}://{_ANYWHERE.get(host, host)}:{port}"
    raise ConfigurationError(
        f"{path}: there is no `usage` receiver with `http`; add `receivers: {{usage: {{http: {{}}}}}}`"
    )


def _item(given: Mapping[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = {
        "customerId": given["customer"],
        "dimensionId": given["dimension"],
        "recordValue": given["value"],
        "timestamp": given["timestamp"] or rfc3339(time.time_ns()),
    }
    if given["metadata"]:
        item["metadata"] = given["metadata"]
    if given["idempotency_key"]:
        item["idempotencyKey"] = given["idempotency_key"]
    return item


# The API key


def _token(variable: str, file: Path | None) -> str:
    """
    Return the API key, "" when there is none.

    :raises ConfigurationError: what is there can be no key.
    """
    if file is None:
        token, where = os.environ.get(variable, ""), f"${variable}"
    else:
        token, where = _read(file), f"'{file}'"
    if (file is not None and not token) or not (token.isascii() and token.isprintable()):
        raise ConfigurationError(
            f"reading API key from {where}: no header can carry what is there; it must be the key alone"
        )
    return token


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"reading API key from '{file}': {_why(error)}; give a file that has the key"
        ) from error


def _shell(variable: str, file: Path | None) -> str:
    """
    Return a shell word that becomes the header with the key when the line is run.
    """
    return (
        f'"Authorization: Bearer ${variable}"' if file is None else f'"Authorization: Bearer $(cat {_in_quotes(file)})"'
    )


def _in_quotes(file: Path) -> str:
    """
    Quote a path within ``$(...)``, where a new quoting begins; ``./`` keeps a name from being an option.
    """
    text = str(file)
    return shlex.quote(text if text.startswith("/") else f"./{text}")


def curl(url: str, item: Mapping[str, Any], authorization: str, ca_file: Path | None) -> str:
    """
    Return the request as a line for a shell. All in it is quoted; JSON is ASCII, so that no terminal is moved by it.
    """
    words = ["curl", "--silent", "--show-error", "--fail-with-body", "--globoff"]
    words += ["--cacert", shlex.quote(str(ca_file))] if ca_file else []
    words += ["--header", authorization, "--header", shlex.quote("Content-Type: application/json")]
    words += ["--data-binary", shlex.quote(json.dumps(item)), shlex.quote(url)]
    return " ".join(words)


# Sending


def send(target: Target, item: Mapping[str, Any]) -> dict[str, Any]:
    """
    Send one item; return its result, with the timestamp that was sent.

    :raises MeterlineError: it was refused, or there is no answer; the message says what is known.
    """
    answer = _post(target, item)
    try:
        (result,) = json.loads(answer)["results"]
        result.pop("index", None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeterlineError(f"reading the answer of {target.url}: it is no usage receiver's ({error})") from error
    return {**result, "timestamp": item["timestamp"]}


def _post(target: Target, item: Mapping[str, Any]) -> bytes:
    headers = {"Content-Type": "application/json"}
    if target.token:
        headers["Authorization"] = f"Bearer {target.token}"
    with urllib3.PoolManager(ssl_context=_trust(target.ca_file)) as pool:
        try:
            answer = pool.request(
                "POST",
                target.url,
                body=json.dumps(item).encode(),
                headers=headers,
                timeout=urllib3.Timeout(total=target.timeout_secs),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            body = answer.read(_ANSWER_BYTES)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise MeterlineError(_unanswered(target, item, error)) from error
    if answer.status != 200:
        raise MeterlineError(f"recording usage at {target.url}: {answer.status} {_refusal(body)}")
    return body


def _unanswered(target: Target, item: Mapping[str, Any], error: Exception) -> str:
    """
    Say what is known of an item that got no answer, and what to do.
    """
    if isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
        return f"connecting to {target.url}: {_why(error)}; is the gateway running?"
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in (_cause(error), *error.args)):
        return f"connecting to {target.url}: {_why(error)}; give its authority's certificate as --ca-file"
    return (
        f"waiting for the answer of {target.url}: {_why(error)}; whether it is stored is not known: run the same again "
        f"with --timestamp {item['timestamp']}, and it counts once"
    )


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigurationError(f"reading certificates from '{ca_file}': {_why(error)}; give a file of PEM") from error


def _cause(error: BaseException) -> BaseException:
    """
    Return the innermost cause: libraries wrap what matters.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _why(error: BaseException) -> str:
    return str(_cause(error))


def _refusal(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace").strip() or "without a word"


def said(item: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """
    Say what became of the item.
    """
    what = f"{item['recordValue']} {item['dimensionId']} for {item['customerId']} at {item['timestamp']}"
    outcome = result.get("outcome")
    if outcome == "recorded":
        return f"recorded {what}, id {result.get('id')}"
    if outcome == "duplicate":
        return f"recorded before: {what}, id {result.get('id')}"
    if outcome == "no_usage":
        return f"no usage: {what}"
    reason = BY_CODE.get(result.get("reason", ""))
    why = result.get("message") or (reason.text if reason else "see its entry")
    return f"in quarantine ({result.get('reason') or 'entry is open'}): {what}: {why}"
