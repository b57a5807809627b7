"""
Schemathesis on the whole HTTP surface: an OpenAPI document of every endpoint that the receivers register, whose schemas allow
anything, and requests made from it.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meterline.testing.hostile_doors import Doors
from meterline.testing.hostile_site import HostileSite

STATUSES = ("200", "202", "204", "400", "403", "404", "405", "413", "415", "431")
MEDIA_TYPES = (
    "application/json",
    "application/x-protobuf",
    "application/x-ndjson",
    "application/msgpack",
    "text/plain",
)
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,unsupported_method"
ANSWERS = ("application/json", "application/x-protobuf", "text/plain", "application/problem+json")


def operation(method: str) -> dict[str, Any]:
    """Anything in the body, any tenant and encoding; every status that is documented, and no other."""
    content = {media: {"schema": {} if "json" in media else {"type": "string"}} for media in MEDIA_TYPES}
    parameters = [
        {"name": name, "in": place, "schema": {"type": "string"}}
        for name, place in (
            ("x-scope-orgid", "header"),
            ("content-encoding", "header"),
            ("verbose", "query"),
            ("ip", "query"),
        )
    ]
    answers = {media: {} for media in ANSWERS}
    responses = {status: {"description": "documented", "content": answers} for status in STATUSES}
    del responses["204"]["content"]
    body = {"requestBody": {"content": content}} if method != "GET" else {}
    return {"parameters": parameters, "responses": responses, **body}


def document() -> dict[str, Any]:
    """The HTTP surface, as the receivers register it."""
    doors = Doors()
    paths: dict[str, Any] = {path: {} for path in (*doors.endpoints, *doors.pages)}
    for path, endpoint in doors.endpoints.items():
        paths[path].update({method.lower(): operation(method) for method in endpoint.methods})
    for path in doors.pages:
        paths[path].update({"get": operation("GET"), "head": operation("GET")})
    for methods in paths.values():
        methods["options"] = operation("GET")
    return {"openapi": "3.1.0", "info": {"title": "all doors", "version": "1"}, "paths": paths}


def test_every_door_is_in_the_document() -> None:
    """What the receivers of the contract register is there, and can be asked for."""
    found = document()["paths"]
    assert {"/v1/metrics", "/api/v1/write", "/loki/api/v1/push", "/v1/events", "/v1/usage", "/track"} <= set(found)


@pytest.mark.slow
@pytest.mark.timeout(170)
def test_schemathesis(tmp_path: Path) -> None:
    """Thousands of requests made from the document: no 500, no undocumented answer, 405 where a method is none."""
    (tmp_path / "openapi.json").write_text(json.dumps(document()), encoding="utf-8")
    site = HostileSite(tmp_path)
    with site.gateway:
        site.gateway.start()
        seed = os.environ.get("METERLINE_SEED")
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", "openapi.json"]
        command += [f"--url=http://127.0.0.1:{site.ports['http']}", f"--checks={CHECKS}", "--phases=coverage,fuzzing"]
        command += ["--max-examples=8", "--request-timeout=20", "--no-color", *([f"--seed={seed}"] if seed else [])]
        report = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
        assert report.returncode == 0, report.stdout[-6000:] + report.stderr[-2000:]
        assert re.search(r"[1-9][0-9]* (passed|generated)", report.stdout), report.stdout[-2000:]
        site.check_log()
