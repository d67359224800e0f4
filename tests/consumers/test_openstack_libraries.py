"""oslo's libraries, futurist and taskflow: programs that check themselves."""

from __future__ import annotations

import pytest

pytest.importorskip("oslo_concurrency")

from _runtimes import run

pytestmark = pytest.mark.slow


def test_log_from_green_threads_and_os_threads(runtime, tmp_path):
    said = run(runtime, "logs", folder=tmp_path)
    assert said.splitlines()[-1] == "done"
    # On greenio the locks of logging do what oslo.log's replacement is for.
    assert ("lock _ReallyPipeMutex" in said) == (runtime == "eventlet"), said


def test_locks_and_child_processes(runtime, tmp_path):
    assert run(runtime, "concurrency", folder=tmp_path).splitlines()[-1] == "done"


@pytest.mark.parametrize("method", ["FORK", "ROOTWRAP"])
def test_privileged_calls(runtime, method, tmp_path):
    said = run(runtime, "privileged", method, folder=tmp_path)
    assert "done" in said.splitlines()
    assert "big 2000000" in said


def test_executors_and_flows(runtime, tmp_path):
    assert run(runtime, "executors", folder=tmp_path).splitlines()[-1] == "done"


def test_database(runtime, database, tmp_path):
    assert (
        run(runtime, "database", database, folder=tmp_path).splitlines()[-1] == "done"
    )


def test_kombu(runtime, rabbitmq, tmp_path):
    assert (
        run(runtime, "messages", rabbitmq, folder=tmp_path).splitlines()[-1] == "done"
    )


def test_psycogreen(runtime, postgresql, tmp_path):
    said = run(runtime, "postgres", postgresql, folder=tmp_path)
    assert said.splitlines()[-1] == "done"
