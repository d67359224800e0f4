"""Every command of the pages runs as it stands there: here, or in the test that is named."""

from __future__ import annotations

import ast
import re
import urllib.request

import pytest

from _pages import (
    FENCE,
    ROOT,
    Pasted,
    inline_commands,
    port_of_the_page,
    run,
    the_page_has,
)

HOWTO = sorted(ROOT.glob("docs/howto/*.md"))
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HOWTO, reason="no pages here"),
]

GUNICORN = "gunicorn -k greenio.workers.gunicorn."
CONDUCTOR = (
    "python -m greenio --hub uvloop nova-conductor --config-file /etc/nova/nova.conf"
)
# Where they stand, and what they write.
PROGRAMS = {
    "python -m greenio app.py --its --own arguments": (
        "howto/from-eventlet.md",
        r"^greenio\.greenthread True \['--its', '--own', 'arguments'\]$",
    ),
    "python -m greenio app.py": (
        "howto/from-gevent.md",
        r"^greenio\.greenthread True \[\]$",
    ),
    "python -m greenio --hub uvloop -m package.module": (
        "howto/from-eventlet.md",
        r"^uvloop$",
    ),
    "python -m greenio --environment": (
        "howto/openstack.md",
        r"^GREENIO_AS_EVENTLET=1\nPYTHONPATH=.*_site",
    ),
    CONDUCTOR: (
        "howto/openstack.md",
        r"^uvloop \['--config-file', '/etc/nova/nova\.conf'\] greenio\.green\.time$",
    ),
    "python -m greenio doctor app.py": (
        "howto/troubleshooting.md",
        r"^app\.py patches: nothing\n\nnothing found$",
    ),
    "python -m cProfile -s tottime app.py": (
        "howto/debugging.md",
        r"(?s)^greenio\.greenthread False \[\]\n.*Ordered by: internal time",
    ),
    "python -m pdb app.py": (
        "howto/debugging.md",
        r"(?s)^\(Pdb\) greenio\.greenthread False \[\]\nThe program finished",
    ),
    "pytest --greenio-loop=uvloop": ("howto/testing.md", r"\b1 passed\b"),
    "python -m greenio -m pytest": ("howto/testing.md", r"\b1 passed\b"),
}
SERVERS = {
    f"{GUNICORN}GreenWorker package.module:app": "howto/gunicorn.md",
    f"{GUNICORN}UvloopGreenWorker package.module:app": "howto/gunicorn.md",
    f"GREENIO_MONITOR=0.5 {GUNICORN}GreenWorker app:app": "reference/command-line.md",
    "python -m greenio serve package.module:app": "howto/deployment.md",
    "python -m greenio serve package.module:app --bind 0.0.0.0:8000 --workers 4 "
    "--hub uvloop": "topics/http-server.md",
}
HERE = {*PROGRAMS, *SERVERS}

# Where the others are run.
ELSEWHERE = {
    r"python -m greenio (--monitor=0.5 --debug )?gunicorn -k eventlet .*": (
        "consumers/test_gunicorn_eventlet::test_the_commands_of_the_pages"
    ),
    r"python -m greenio (--monitor=0.5 --debug |-m )?celery -A app .*": (
        "consumers/test_celery_commands::test_each_way_to_start_a_worker"
    ),
    r"(python -m greenio.workers.)?celery -A app .*|export CELERY_.*": (
        "consumers/test_celery_commands::test_each_way_to_start_a_worker"
    ),
    r"python -m greenio.workers.celery -A tasks .*|python crawl.py .*|cd .*fleet": (
        "consumers/test_celery_commands::test_the_fleet"
    ),
    r"python -m greenio (--hub uvloop )?stage1/app.py": (
        "services/test_commands::test_the_first_stage_of_a_migration"
    ),
    r"(uvicorn|hypercorn) main:app": (
        "services/test_commands::test_an_application_inside_fastapi"
    ),
    r"python (-m greenio --hub uvloop )?examples/tutorial/(crawl|site).*": (
        "test_tutorial::test_the_commands_of_the_crawler"
    ),
    r"python examples/tutorial/echo_server.py|python -c \"": (
        "test_tutorial::test_the_commands_of_the_echo_server"
    ),
    r"python examples/tutorial/service.py": (
        "test_tutorial::test_the_command_of_the_service"
    ),
    r".*chat:app|(QUEUE.*)?python -m greenio (--hub uvloop )?chat\.py": (
        "consumers/test_socketio_example::test_each_way_to_serve"
    ),
    r"QUEUE=\S+ python say\.py .*": (
        "consumers/test_socketio_example::test_several_processes"
    ),
    r"python -m greenio nameko run .*": (
        "consumers/test_rpc_nameko::test_the_command_of_the_page"
    ),
    r"OSKEN_HUB_TYPE=eventlet .*": (
        "consumers/test_rpc_openflow::test_the_command_of_the_page"
    ),
    r"python3 -m venv .*examples/crawler.py": (
        "test_examples::test_the_command_of_the_readme"
    ),
}
# What no test runs, and why.
NOT_RUN = {
    r".*pip install .*": (
        "it installs from a network; each environment of tox is installed alike"
    ),
    r"python -m benchmarks.*": "it takes up to an hour, with other runtimes beside it",
    r"python -m gevent.monkey app.py": "it is gevent's, and what is to be replaced",
    r"python -m gunicorn": "the page says that it does not work",
    r"py-spy .*|python -m (pdb -p PID|asyncio ps)": (
        "it reads another process, which the system must permit"
    ),
    # Names of commands, in sentences.
    r"python -m greenio( serve| gunicorn \.\.\.)?|python -X dev": "it is a part of one",
}

COMMAND = re.compile(
    r"(\$ )?([A-Z_]+=\S+ )*(python3?|pip|gunicorn|celery|cd|export) .*"
)


def commands() -> set[str]:
    """The lines of blocks on all pages, and what stands in sentences of the guides."""
    found = set()
    for page in PAGES:
        for block in FENCE.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                if COMMAND.fullmatch(line):
                    found.add(line.removeprefix("$ "))
    return found.union(*map(inline_commands, HOWTO))


def test_each_command_is_run_somewhere() -> None:
    found = commands()
    assert len(found) > 50
    used = set()
    for command in found - HERE:
        patterns = [
            pattern
            for pattern in (*ELSEWHERE, *NOT_RUN)
            if re.fullmatch(pattern, command)
        ]
        assert patterns, f"nothing runs: {command}"
        used.update(patterns)
    assert used == {*ELSEWHERE, *NOT_RUN}
    for place in ELSEWHERE.values():
        module, _, test = place.partition("::")
        tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text("utf-8"))
        assert test in {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef)
        }, place


WSGI = """
def app(environ, start_response):
    greenio.sleep(0.01)
    start_response("200 OK", [])
    return [b"served"]
"""


@pytest.fixture
def folder(tmp_path):
    """What the commands name."""
    (tmp_path / "app.py").write_text(
        "import sys, greenio\n"
        "try:\n"
        "    import eventlet\n"
        "except ImportError:\n"
        "    eventlet = greenio\n"
        "eventlet.sleep(0)\n"
        "print(eventlet.spawn.__module__, 'eventlet' in sys.modules, sys.argv[1:])\n"
        + WSGI
    )
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "module.py").write_text(
        "import asyncio, greenio\n" + WSGI + "if __name__ == '__main__':\n"
        "    greenio.sleep(0)\n"
        "    print(type(asyncio.get_running_loop()).__module__.partition('.')[0])\n"
    )
    (tmp_path / "test_green.py").write_text(
        "import greenio\nimport pytest\n\n"
        "@pytest.mark.greenio\ndef test_it():\n    greenio.sleep(0)\n"
    )
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    conductor = scripts / "nova-conductor"
    # Any command that a package has installed; this one is an eventlet program.
    conductor.write_text(
        "#!/usr/bin/env python\n"
        "import asyncio, sys, time, eventlet\n"
        "eventlet.sleep(0)\n"
        "loop = type(asyncio.get_running_loop()).__module__.partition('.')[0]\n"
        "print(loop, sys.argv[1:], time.sleep.__module__)\n"
    )
    conductor.chmod(0o755)
    return tmp_path


def needs_uvloop(command: str) -> None:
    if "uvloop" in command.lower():
        pytest.importorskip("uvloop")


@pytest.mark.parametrize("command", PROGRAMS)
def test_programs(folder, command):
    page, says = PROGRAMS[command]
    needs_uvloop(command)
    path = f"{folder / 'scripts'}:/usr/bin:/bin"
    # What is typed at the prompts of pdb.
    typed = "continue\nquit\n"
    said = run(the_page_has(page, command), folder, PATH=path, typed=typed)
    assert re.search(says, said, re.MULTILINE), said


@pytest.mark.parametrize("command", SERVERS)
def test_servers(folder, command):
    needs_uvloop(command)
    the_page_has(SERVERS[command], command)
    # gunicorn's default is not what is looked at.
    own = {"GUNICORN_CMD_ARGS": "--bind 127.0.0.1:0"}
    with port_of_the_page(8000), Pasted(command, folder, **own) as server:
        url = server.hear(r"http://[\d.]+:\d+")[0].replace("0.0.0.0", "127.0.0.1")
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.read() == b"served"
        assert server.end() == 0, server.log()
