"""Slow requests are logged, at most one line a second, without the content of the request."""

import logging
from typing import Any

import pytest

from polyrec.serve.watch.slow_log import SlowLog


def test_only_slow_requests_are_told_and_those_within_a_second_counted(caplog: pytest.LogCaptureFixture):
    now = [100.0]
    log = SlowLog(0.5, lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for seconds, then in ((0.5, 0.0), (0.7, 0.0), (0.8, 0.5), (0.9, 0.1), (0.6, 0.5), (0.2, 2.0), (0.51, 2.0)):
            now[0] += then
            log.take("POST", "/recommend", 200, seconds)
    assert [record.getMessage() for record in caplog.records] == [
        "slow request: POST /recommend took 0.70 s, status 200",
        "slow request: POST /recommend took 0.60 s, status 200; 2 more since the last line",
        "slow request: POST /recommend took 0.51 s, status 200",
    ]


def test_a_line_tells_no_key_of_a_user(serve: Any, artifact: Any, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING), serve(artifact, slow=1e-9) as client:
        client.get("/users/secret-user")
    (line,) = [record.getMessage() for record in caplog.records if "slow request" in record.getMessage()]
    assert "GET /users took" in line
    assert "secret" not in line
