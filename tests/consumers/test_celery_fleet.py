"""The example of a fleet of workers, as the guide runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack

import pytest

pytest.importorskip("celery")

from _celery import HERE, PATIENCE, Worker

FOLDER = HERE.parent.parent / "examples" / "celery_fleet"

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="no examples here")


@pytest.mark.parametrize("option", [(), ("--async",)], ids=["blocking", "async"])
def test_two_workers_crawl_a_site(rabbitmq, loop, tmp_path, option):
    told = {"PYTHONPATH": str(FOLDER), "BROKER": rabbitmq, "BACKEND": "rpc://"}
    queue = f"fleet-{os.getpid()}-{loop}-{len(option)}"
    options = {"hub": loop, "app": "tasks", "queue": queue, "QUEUE": queue, **told}
    with ExitStack() as workers:
        fleet = [
            workers.enter_context(Worker(rabbitmq, tmp_path, "-c", "20", **options))
            for _ in range(2)
        ]
        done = subprocess.run(
            [sys.executable, str(FOLDER / "crawl.py"), "--pages", "60", *option],
            env={**os.environ, **told, "QUEUE": queue},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "60 pages, 60 full" in done.stdout
        together, apart = map(float, re.findall(r"([\d.]+) s ", done.stdout))
        assert together < apart
        for worker in fleet:
            assert "succeeded" in worker.text()
