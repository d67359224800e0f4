"""The examples for Prometheus and OpenTelemetry, with the real libraries."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from _fresh import PATIENCE, environment, python

EXAMPLES = Path(__file__).parent.parent / "examples" / "observing"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLES.exists(), reason="no examples here"),
]


def test_metrics(loop):
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / "metrics.py"), "0"],
        env=environment(loop),
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            url = re.search(r"http://\S+", server.stdout.readline())[0]
            # Until the lag has been measured.
            while True:
                with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    text = answer.read().decode()
                values = {
                    sample.name: sample.value
                    for family in text_string_to_metric_families(text)
                    for sample in family.samples
                }
                if values["greenio_loop_lag_seconds_count"]:
                    break
        finally:
            server.kill()
    assert values["greenio_pool_running"] == 3
    assert values["greenio_pool_free"] == 97
    assert values["greenio_tpool_size"] == 20
    # The pool's, the one that measures, and this request's.
    assert values["greenio_hub_green_threads"] >= 5
    assert ("greenio_hub_lag" in values) == (loop == "asyncio")


def test_spans(loop):
    done = python(str(EXAMPLES / "tracing.py"), hub=loop)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if "fetched" not in line]
    assert sorted(lines) == [
        "all pages below another: UNSET; ",
        "crawl: UNSET; started",
        "failed: no such page",
        "fetch 0 below another: UNSET; started",
        "fetch 1 below another: UNSET; started",
        "fetch 2 below another: ERROR; started, exception",
    ]
