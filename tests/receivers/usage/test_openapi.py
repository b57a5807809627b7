"""
The OpenAPI document: valid, served, and true of what is really answered.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from meterline.api import ItemResult
from meterline.receivers.usage.openapi import OUTCOMES, document
from meterline.serving.seam import Cause


def schema(name: str) -> dict[str, Any]:
    """One schema of the document, with the others in reach."""
    components = document()["components"]
    return {"$ref": f"#/components/schemas/{name}", "components": components}


def test_it_is_openapi() -> None:
    """A validator of OpenAPI 3.1 accepts it."""
    validate(document())


def test_it_is_served(site: Any) -> None:
    """Anybody can read it where it says, also where sending needs a key."""
    answer = site.request("GET", "/v1/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == json.loads(json.dumps(document()))


def test_anybody_may_read_it(make: Any) -> None:
    """The document needs no key, sending does."""
    site = make(http={"auth": {"keys": [{"name": "a", "token": "secret"}]}})
    assert site.request("GET", "/v1/openapi.json").status == 200
    assert site.post({}).status == 401


def test_the_example(site: Any) -> None:
    """The example in it is what its schema says, and is recorded."""
    example = document()["components"]["schemas"]["UsageItem"]["example"]
    jsonschema.validate(example, schema("UsageItem"))
    answer = site.post(example)
    assert answer.json()["recorded"] == 1
    jsonschema.validate(answer.json(), schema("Results"))


@pytest.mark.parametrize("data", [[5, {}, {"customerId": "a", "dimensionId": "b", "recordValue": 0}], b"5"])
def test_answers_are_as_it_says(site: Any, data: Any) -> None:
    """Results and problems are what their schemas say."""
    answer = site.post(data)
    jsonschema.validate(answer.json(), schema("Results" if answer.status == 200 else "Problem"))
    assert str(answer.status) in document()["paths"]["/v1/usage"]["post"]["responses"]


def test_it_names_every_outcome_and_status() -> None:
    """Outcomes are those of the engine, statuses those of the listener."""
    outcomes = ItemResult.__annotations__["outcome"].__args__
    assert set(OUTCOMES) == set(outcomes)
    responses = document()["paths"]["/v1/usage"]["post"]["responses"]
    assert set(responses) == {"200", *(str(cause.value) for cause in Cause)}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_schemathesis(site: Any, tmp_path: Path) -> None:
    """Hundreds of requests made from the document meet no 500, no undocumented answer, and nothing that it does not say."""
    program = Path(sys.executable).parent / "schemathesis"
    report = subprocess.run(
        [
            str(program),
            "run",
            f"{site.url}/v1/openapi.json",
            "--max-examples=40",
            "--phases=examples,coverage,fuzzing",
            "--checks=all",
            # an item that is not as it should be is stored aside, and its request answered 200: the document says so
            "--exclude-checks=negative_data_rejection,missing_required_header",
            "--request-timeout=30",
            *([f"--seed={seed}"] if (seed := os.environ.get("METERLINE_SEED")) else []),
            "--no-color",
        ],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        cwd=tmp_path,
    )
    assert report.returncode == 0, report.stdout[-6000:] + report.stderr[-2000:]
    assert re.search(r"[1-9][0-9]* (passed|generated)", report.stdout), report.stdout[-2000:]
    kernel = site.intake.kernel
    assert kernel.balance("received") > 100
