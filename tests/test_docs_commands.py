"""Every command of the pages runs as it stands there: here, or in the test that is named."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from _fresh import PATIENCE, environment

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]

pytestmark = pytest.mark.slow

FENCE = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

GUNICORN = "gunicorn -k greenio.workers.gunicorn."
HERE = {
    "python -m greenio app.py --its --own arguments",
    "python -m greenio --hub uvloop -m package.module",
    f"{GUNICORN}GreenWorker package.module:app",
    f"{GUNICORN}UvloopGreenWorker package.module:app",
}

# Where the others are run. What installs is done by CI for each environment of its own.
ELSEWHERE = {
    r".*pip install .*": None,
    r"cd .*|export .*|nc .*": None,
    r"python3 -m venv .*tox run-parallel -p all -m test": None,
    r"python -m benchmarks .*": None,
    r"python -m greenio gunicorn -k eventlet .*": (
        "consumers/test_gunicorn_eventlet::test_requests_at_once_and_restarts"
    ),
    r"python -m greenio celery -A app worker -P eventlet": (
        "consumers/test_celery_workers::"
        "test_celerys_own_eventlet_pool_through_the_alias"
    ),
    r"python -m greenio --monitor=0.5 --debug gunicorn -k eventlet .*": (
        "test_workers_gunicorn::test_workers_are_watched_by_option"
    ),
    r"python -m greenio --monitor=0.5 --debug celery .*": (
        "consumers/test_celery_workers::test_it_is_watched_by_option"
    ),
    r"python -m greenio.workers.celery -A app .*": (
        "consumers/test_celery_workers::test_warm_shutdown"
    ),
    r"celery -A app worker -P custom .*": (
        "consumers/test_celery_workers::test_the_custom_pool_of_celerys_command"
    ),
    r"python -m greenio.workers.celery -A tasks .*|python crawl.py .*": (
        "consumers/test_celery_fleet::test_two_workers_crawl_a_site"
    ),
    r"python -m greenio (--hub uvloop )?stage1/app.py": (
        "services/test_migration::test_products_are_cached_until_they_change"
    ),
    r"python -m greenio serve .*": "test_serve_command::test_it_serves_until_a_signal",
    r"python (-m greenio --hub uvloop )?examples/tutorial/(crawl|site).*": (
        "test_tutorial::test_the_crawlers"
    ),
    r"python examples/tutorial/echo_server.py": "test_tutorial::test_the_echo_server",
    r"python examples/tutorial/service.py": "test_tutorial::test_the_service",
    r".* (chat|say)\.py.*|.* chat:app": (
        "consumers/test_socketio_example::test_each_way_to_serve"
    ),
    r"python -m greenio --hub uvloop nova-conductor .*|python -m greenio --environment": (
        "consumers/test_openstack_service::test_a_command_that_cannot_be_changed"
    ),
    r"python -m greenio nameko run .*": (
        "consumers/test_rpc_nameko::test_calls_timer_http_and_the_end"
    ),
    r"OSKEN_HUB_TYPE=eventlet .*": ("consumers/test_rpc_openflow::test_switches_learn"),
    r'python -c "': "test_tutorial::test_the_echo_server",
    r"python3 -m venv .*examples/crawler.py": (
        "test_examples::test_the_command_of_the_readme"
    ),
}

COMMAND = re.compile(
    r"(\$ )?([A-Z_]+=\S+ )*(python3?|pip|gunicorn|celery|cd|export|nc) .*"
)


def commands() -> set[str]:
    found = set()
    for page in PAGES:
        for block in FENCE.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                if COMMAND.fullmatch(line):
                    found.add(line.removeprefix("$ "))
    return found


def test_each_command_is_run_somewhere() -> None:
    found = commands()
    assert found >= HERE
    assert len(found) > 20
    for command in found - HERE:
        places = [
            place
            for pattern, place in ELSEWHERE.items()
            if re.fullmatch(pattern, command)
        ]
        assert places, f"nothing runs: {command}"
        for place in filter(None, places):
            module, _, test = place.partition("::")
            tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text("utf-8"))
            assert test in {
                node.name for node in tree.body if isinstance(node, ast.FunctionDef)
            }, place


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """What the commands name."""
    (tmp_path / "app.py").write_text(
        "import sys, eventlet\neventlet.sleep(0)\nprint(eventlet.spawn.__module__, sys.argv[1:])\n"
    )
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "module.py").write_text(
        "import asyncio, greenio\n"
        "def app(environ, start_response):\n"
        "    greenio.sleep(0.01)\n"
        "    start_response('200 OK', [])\n"
        "    return [b'served']\n"
        "if __name__ == '__main__':\n"
        "    greenio.sleep(0)\n"
        "    print(type(asyncio.get_running_loop()).__module__.partition('.')[0])\n"
    )
    return tmp_path


def start(command: str, directory: Path) -> subprocess.Popen[str]:
    # The interpreter and the scripts of this environment come first, as when it is active.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.Popen(
        command.split(),
        cwd=directory,
        env=environment(PATH=path, GUNICORN_CMD_ARGS="--bind 127.0.0.1:0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("python -m greenio app.py --its --own arguments", "greenio"),
        ("python -m greenio --hub uvloop -m package.module", "uvloop"),
    ],
)
def test_programs(application, command, says):
    assert command in HERE
    if says == "uvloop":
        pytest.importorskip("uvloop")
    with start(command, application) as process:
        out = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, out
    assert says in out
    if "--its" in command:
        assert "['--its', '--own', 'arguments']" in out


@pytest.mark.parametrize("worker", ["GreenWorker", "UvloopGreenWorker"])
def test_gunicorn(application, worker):
    command = f"{GUNICORN}{worker} package.module:app"
    assert command in HERE
    if worker == "UvloopGreenWorker":
        pytest.importorskip("uvloop")
    with start(command, application) as process:
        log = ""
        while "Listening at" not in log:
            line = process.stdout.readline()
            assert line, log
            log += line
        url = re.search(r"Listening at: (http://\S+)", log)[1]
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                assert answer.read() == b"served"
        finally:
            process.send_signal(signal.SIGTERM)
            log += process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, log
