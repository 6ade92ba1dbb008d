"""The OpenAPI document says what the server does: requests made from it are answered as it says, and none by a fault."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

CASES = 12
"""Examples of each operation and phase; `docs/benchmarks.md` reports the results of more examples."""


@pytest.mark.slow
def test_requests_made_from_the_document_are_answered_as_it_says(artifact: Path, tmp_path: Path, start: Callable[..., Any]):
    server = start(artifact, "--store", f"sqlite:///{tmp_path}/events.sqlite")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "-n", str(CASES), "--no-color"]
    done = subprocess.run(
        [*command, "--generation-deterministic", "--continue-on-failure"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    (cases,) = re.findall(r"(\d+) generated", done.stdout)
    assert int(cases) > 300
    assert httpx.get(f"{server.url}/ready").status_code == 200


def test_the_document_names_every_rule_and_refusal(client: Any):
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert {"AtMost", "Pinned", "EpsilonGreedy", "RecommendRequest", "Event"} <= schemas.keys()
    assert set(document["paths"]["/recommend"]["post"]["responses"]) >= {"200", "401", "403", "409", "413", "422", "429", "503"}
