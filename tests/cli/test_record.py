"""
`meterline record`: the curl line it stands for, the request it sends, and what it says of each answer.
"""

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from meterline.cli import main
from meterline.cli.record import curl

SHELLS = sorted({found for name in ("sh", "bash") if (found := shutil.which(name))})
ITEM = ("--customer", "acme", "--dimension", "seats", "--value", "12.50")
AT = ("--timestamp", "2026-11-22T18:00:00Z")
SECRET = "s3cret-key"  # noqa: S105 - a test's own


def meterline(*arguments: str, **env: str) -> Result:
    """
    Run the command in this process.
    """
    return CliRunner(env={"COLUMNS": "100", "METERLINE_API_KEY": None, **env}).invoke(main, ["record", *arguments])


class Door:
    """
    An HTTP server that answers what the test says and keeps the requests. ``status`` 0: it closes without an answer.
    """

    def __init__(self) -> None:
        self.status = 200
        self.body: bytes = (
            b'{"results": [{"index": 0, "outcome": "recorded", "id": "00112233445566778899aabbccddeeff"}]}'
        )
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                door.requests.append((self.path, dict(self.headers), json.loads(body)))
                if not door.status:
                    return
                self.send_response(door.status)
                self.send_header("Content-Length", str(len(door.body)))
                self.end_headers()
                self.wfile.write(door.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def door() -> Iterator[Door]:
    """
    A running one.
    """
    made = Door()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_the_curl_line(golden: Callable[[str, str], None]) -> None:
    """The line has everything that would be sent, and the key only by the name of its variable."""
    result = meterline(
        *ITEM, *AT, "--metadata", "plan=pro", "--idempotency-key", "k", "--endpoint", "https://m.example:4318/",
        "--ca-file", "my ca.pem", "--dry-run", METERLINE_API_KEY=SECRET,
    )  # fmt: skip
    assert result.exit_code == 0
    assert SECRET not in result.output
    golden("record-dry-run.txt", result.stdout)


HOSTILE = [
    "'",
    '"',
    "`touch x`",
    "$(touch x)",
    "$HOME ${HOME}",
    "a;b|c&d>e<f",
    "line\nbreak\r\n",
    "\\",
    "!!",
    "*?[a]{b,c}",
    "-n",
    "@file",
    "#",
    "\x1b[2J",
    "ü €",
    "'; rm -rf ~; '",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_the_line_in_a_shell(text: str, tmp_path: Path) -> None:
    """A shell gives curl exactly the request, whatever is in it."""
    key = tmp_path / "it's $(a) key"
    key.write_text(SECRET, encoding="utf-8")
    line = meterline(
        "--customer", text, "--dimension", text, "--value", text, *AT, "--metadata", f"{text}={text}",
        "--endpoint", "http://h:1", "--api-key-file", str(key), "--dry-run",
    ).stdout  # fmt: skip
    assert line.isascii()
    assert SECRET not in line
    arguments = in_a_shell(line, tmp_path)
    assert f"Authorization: Bearer {SECRET}" in arguments
    body = json.loads(arguments[arguments.index("--data-binary") + 1])
    assert (body["customerId"], body["dimensionId"], body["recordValue"]) == (text, text, text)
    name, _, rest = f"{text}={text}".partition("=")
    assert body["metadata"] == {name: rest}
    assert arguments[-1] == "http://h:1/v1/usage"


def in_a_shell(line: str, folder: Path) -> list[str]:
    """
    Return what a program named curl is given when the line is run, by every shell alike.
    """
    fake = folder / "curl"
    fake.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n", encoding="utf-8")
    fake.chmod(0o755)
    given = []
    for shell in SHELLS:
        run = subprocess.run(
            [shell, "-c", line], capture_output=True, check=True, env={"PATH": f"{folder}:/usr/bin:/bin"}, cwd=folder
        )
        given.append(run.stdout.decode().split("\0")[:-1])
    assert not (folder / "x").exists()
    assert given == given[:1] * len(SHELLS)
    return given[0]


@settings(max_examples=40)
@given(text=st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20))
def test_any_text_in_a_shell(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """So it is for any text."""
    line = curl("http://h:1/v1/usage", {"customerId": text}, '"x: y"', None)
    arguments = in_a_shell(line, tmp_path_factory.mktemp("shell"))
    assert json.loads(arguments[arguments.index("--data-binary") + 1]) == {"customerId": text}


def test_what_is_sent(door: Door) -> None:
    """The request has the item as it was given, and the key as a bearer token."""
    result = meterline(
        *ITEM, *AT, "--metadata", "a==b", "--idempotency-key", "k", "--endpoint", door.url, METERLINE_API_KEY=SECRET
    )
    assert result.exit_code == 0, result.output
    ((path, headers, body),) = door.requests
    assert (path, headers["Authorization"]) == ("/v1/usage", f"Bearer {SECRET}")
    assert body == {
        "customerId": "acme",
        "dimensionId": "seats",
        "recordValue": "12.50",
        "timestamp": AT[1],
        "metadata": {"a": "=b"},
        "idempotencyKey": "k",
    }
    assert "recorded 12.50 seats for acme" in result.stdout


def test_without_a_key(door: Door, tmp_path: Path) -> None:
    """Without a key there is no such header; one from a file goes before the variable's."""
    meterline(*ITEM, "--endpoint", door.url)
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    meterline(*ITEM, "--endpoint", door.url, "--api-key-file", str(file), METERLINE_API_KEY="other")
    assert "Authorization" not in door.requests[0][1]
    assert door.requests[1][1]["Authorization"] == f"Bearer {SECRET}"
    assert door.requests[0][2]["timestamp"] < door.requests[1][2]["timestamp"]


@pytest.mark.parametrize("content", ["", "two\nlines", "ü"])
def test_keys_that_cannot_be(content: str, tmp_path: Path) -> None:
    """What cannot be a key is not sent and not shown."""
    file = tmp_path / "key"
    file.write_text(content, encoding="utf-8")
    by_file = meterline(*ITEM, "--endpoint", "http://127.0.0.1:1", "--api-key-file", str(file))
    by_name = meterline(*ITEM, "--endpoint", "http://127.0.0.1:1", METERLINE_API_KEY=content)
    missing = meterline(*ITEM, "--endpoint", "http://127.0.0.1:1", "--api-key-file", str(tmp_path / "none"))
    assert (by_file.exit_code, missing.exit_code) == (78, 78)
    assert by_name.exit_code == (78 if content else 1)
    assert not content or content not in by_file.output + by_name.output


ANSWERS = [
    ({"outcome": "recorded", "id": "ab"}, 0, "recorded 12.50 seats for acme at 2026-11-22T18:00:00Z, id ab"),
    ({"outcome": "duplicate", "id": "ab"}, 0, "recorded before: 12.50 seats for acme"),
    ({"outcome": "no_usage"}, 0, "no usage: 12.50 seats for acme"),
    ({"outcome": "quarantined", "reason": "time_in_past"}, 1, "(time_in_past): 12.50 seats for acme"),
    ({"outcome": "quarantined", "reason": "time_in_past"}, 1, "further back than time.max_past_secs"),
    ({"outcome": "quarantined", "reason": "x", "message": "no \x1b[2J"}, 1, "no \\x1b[2J"),
    ({"outcome": "quarantined"}, 1, "(entry is open)"),
]


@pytest.mark.parametrize(("result", "code", "words"), ANSWERS)
def test_what_it_says(door: Door, result: dict[str, Any], code: int, words: str) -> None:
    """Each outcome has its words and its exit code."""
    door.body = json.dumps({"results": [{"index": 0, **result}]}).encode()
    said = meterline(*ITEM, *AT, "--endpoint", door.url)
    assert words in said.stdout
    assert said.exit_code == code


def test_as_json(door: Door) -> None:
    """With --json it is the result and the timestamp that was sent."""
    said = meterline(*ITEM, *AT, "--endpoint", door.url, "--json")
    assert json.loads(said.stdout) == {
        "outcome": "recorded",
        "id": "00112233445566778899aabbccddeeff",
        "timestamp": AT[1],
    }


REFUSALS = [
    (503, b'{"detail": "over the quota"}', "503 over the quota"),
    (401, b"no \x1b", "401 no"),
    (302, b"", "302 without a word"),
    (200, b"<html>", "it is no usage receiver's"),
    (200, b"[]", "it is no usage receiver's"),
    (200, b'{"results": []}', "it is no usage receiver's"),
    (200, b'{"results": [5]}', "it is no usage receiver's"),
]


@pytest.mark.parametrize(("status", "body", "words"), REFUSALS)
def test_refusals(door: Door, status: int, body: bytes, words: str) -> None:
    """What is not stored, and what is no answer, is an error with exit code 1."""
    door.status, door.body = status, body
    said = meterline(*ITEM, "--endpoint", door.url)
    assert said.exit_code == 1
    assert words in said.stderr
    assert "\x1b" not in said.stderr


def test_over_tls(door: Door, tmp_path: Path) -> None:
    """The gateway's certificate is verified: by --ca-file, or by what the system trusts, which does not know it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    door.server.socket = context.wrap_socket(door.server.socket, server_side=True)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    url = door.url.replace("http:", "https:")
    trusted = meterline(*ITEM, "--endpoint", url, "--ca-file", str(file))
    unknown = meterline(*ITEM, "--endpoint", url)
    missing = meterline(*ITEM, "--endpoint", url, "--ca-file", str(tmp_path / "none"))
    assert (trusted.exit_code, unknown.exit_code, missing.exit_code) == (0, 1, 78), trusted.output + missing.output
    assert "--ca-file" in unknown.stderr
    assert "not known" not in unknown.stderr
    assert len(door.requests) == 1


def test_no_answer(door: Door) -> None:
    """When it is not known whether it is stored, the error says how to send the same again."""
    door.status = 0
    said = meterline(*ITEM, "--endpoint", door.url)
    assert said.exit_code == 1
    sent = door.requests[0][2]["timestamp"]
    assert f"--timestamp {sent}" in said.stderr.replace("\n", " ")
    assert len(door.requests) == 1


def test_nobody_there(door: Door) -> None:
    """When nobody listens, nothing was sent."""
    door.server.socket.close()
    said = meterline(*ITEM, "--endpoint", door.url)
    assert said.exit_code == 1
    assert "is the gateway running?" in said.stderr


CONFIGS = [
    ("usage: {http: {}}", "http://127.0.0.1:4318/v1/usage"),
    ("u: {type: usage, http: {endpoint: '0.0.0.0:9', insecure: true}}", "http://127.0.0.1:9/v1/usage"),
    ("usage: {http: {endpoint: '[::1]:9'}}", "'http://[::1]:9/v1/usage'"),
    (
        "usage: {http: {endpoint: 'host:9', insecure: true, tls: {cert_file: a, key_file: b}}}",
        "https://host:9/v1/usage",
    ),
]


@pytest.mark.parametrize(("receivers", "url"), CONFIGS)
def test_where_the_config_says(receivers: str, url: str, tmp_path: Path) -> None:
    """The address is that of the config's usage receiver."""
    config = tmp_path / "m.yaml"
    config.write_text(f"ledger: {{path: ./m.db}}\nreceivers: {{otlp: {{grpc: {{}}}}, {receivers}}}\n", encoding="utf-8")
    said = meterline(str(config), *ITEM, "--dry-run")
    assert said.exit_code == 0, said.output
    assert said.stdout.rstrip().endswith(f" {url}")


@pytest.mark.parametrize(
    "receivers", ["otlp: {grpc: {}}", "usage: {grpc: {}}", "usage: {http: {endpoint: '127.0.0.1:0'}}",
                  "usage: {http: {endpoint: 'unix:/tmp/x'}}"],
)  # fmt: skip
def test_a_config_that_does_not_say(receivers: str, tmp_path: Path) -> None:
    """A config without an address that can be called: exit code 78."""
    config = tmp_path / "m.yaml"
    config.write_text(f"ledger: {{path: ./m.db}}\nreceivers: {{{receivers}}}\n", encoding="utf-8")
    assert meterline(str(config), *ITEM, "--dry-run").exit_code == 78
