"""Celery's workers, started by the commands of the pages."""

from __future__ import annotations

import contextlib
import re
import uuid
from contextlib import ExitStack

import pytest

pytest.importorskip("celery")

from _pages import ROOT, Pasted, blocks, run, the_page_has

FLEET = ROOT / "examples" / "celery_fleet"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FLEET.exists(), reason="no examples here"),
]

APP = """
import os, sys, time
from celery import Celery

app = Celery("app", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.task_default_queue = os.environ["QUEUE"]
app.conf.broker_connection_retry_on_startup = True

@app.task
def nap():
    time.sleep(0.01)
    return time.sleep.__module__
"""
CLIENT = """
from app import app, nap

print(nap.delay().get(timeout=90))
"""
CLEAN_UP = """
import sys

app = __import__(sys.argv[1]).app
with app.connection_for_write() as connection:
    connection.default_channel.queue_delete(app.conf.task_default_queue)
"""
COMMANDS = [
    ("howto/celery.md", "python -m greenio.workers.celery -A app worker -c 1000\n"),
    (
        "howto/celery.md",
        (
            "export CELERY_CUSTOM_WORKER_POOL=greenio.workers.celery:TaskPool\n"
            "celery -A app worker -P custom -c 1000\n"
        ),
    ),
    ("howto/celery.md", "python -m greenio -m celery -A app worker -P eventlet"),
    (
        "howto/from-eventlet.md",
        "python -m greenio celery -A app worker -P eventlet\n",
    ),
    (
        "reference/command-line.md",
        "python -m greenio --monitor=0.5 --debug celery -A app worker -P eventlet\n",
    ),
]


@pytest.fixture
def told():
    """For the environment of a worker and of its client."""
    queue = f"greenio-{uuid.uuid4().hex[:12]}"
    return {"QUEUE": queue, "C_FORCE_ROOT": "1"}


@contextlib.contextmanager
def without_queue(app, folder, told):
    """Have the queue of an app gone afterwards."""
    try:
        yield
    finally:
        run(f"python -c '{CLEAN_UP}' {app}", folder, **told)


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_each_way_to_start_a_worker(redis, told, tmp_path, page, command):
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "client.py").write_text(CLIENT)
    told["BROKER"] = redis
    with without_queue("app", tmp_path, told):
        with Pasted(the_page_has(page, command), tmp_path, **told) as worker:
            said = run("python client.py", tmp_path, **told)
            assert said == "greenio.green.time\n", worker.log()
            assert worker.end() == 0, worker.log()


def test_the_fleet(rabbitmq, told):
    (block,) = (each for each in blocks("howto/celery.md") if "crawl.py" in each)
    change, *workers, crawl = block.splitlines()
    assert ROOT / change.removeprefix("cd ") == FLEET
    assert len(workers) == 2
    told |= {"BROKER": rabbitmq, "BACKEND": "rpc://", "PYTHONDONTWRITEBYTECODE": "1"}
    with without_queue("tasks", FLEET, told), ExitStack() as stack:
        for command in workers:
            stack.enter_context(Pasted(command, FLEET, **told)).hear(r"\[queues\]")
        said = run(crawl, FLEET, **told)
        assert "600 pages, 600 full" in said
        together, apart = map(float, re.findall(r"([\d.]+) s ", said))
        assert together < apart
