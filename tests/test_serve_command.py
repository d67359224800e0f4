"""``python -m greenio serve``: workers, signals, and what it refuses."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

SITE = """\
import os, time

VERSION = "{version}"

def app(environ, start_response):
    time.sleep(0.01)
    start_response("200 OK", [])
    return [f"{{VERSION}} {{os.getpid()}}".encode()]

def make():
    return app

async def coroutine(scope, receive, send):
    pass

class Instance:
    async def __call__(self, scope, receive, send):
        pass

instance = Instance()
nothing = 1
"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site_under_test.py").write_text(SITE.format(version="one"))
    return tmp_path


class Command:
    def __init__(self, site, *words, app="site_under_test:app"):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "greenio", "serve", app),
                *("--bind", f"127.0.0.1:{self.port}", *words),
            ],
            cwd=site,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def wait_until(self, condition):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.stderr.read()
            try:
                answer = self.ask()
            except (OSError, http.client.HTTPException):
                answer = ""
            if condition(answer):
                return answer
            time.sleep(0.02)
        raise AssertionError("it did not happen")

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        log = self.process.communicate(timeout=30)[1]
        return self.process.returncode, log


@pytest.fixture
def command(site):
    started = []

    def start(*words, **keywords):
        started.append(Command(site, *words, **keywords))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end()
        one.process.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal(command, loop, number):
    server = command("--hub", loop, "--workers", "2")
    server.wait_until(lambda answer: answer.startswith("one"))
    status, log = server.end(number)
    assert status == 0
    assert '"GET / HTTP/1.1" 200 ' in log
    assert log.count("wsgi exited, SIGTERM came") == 2


@pytest.mark.slow
def test_hup_loses_no_request(command, site, loop):
    server = command("--hub", loop, "--no-access-log")
    server.wait_until(bool)
    answers, errors = [], []
    done = threading.Event()

    def client():
        while not done.is_set():
            try:
                answers.append(server.ask())
            except Exception as exc:
                errors.append(exc)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    try:
        for version in ("two!", "three"):
            (site / "site_under_test.py").write_text(SITE.format(version=version))
            server.process.send_signal(signal.SIGHUP)
            server.wait_until(lambda answer, new=version: answer.startswith(new))
    finally:
        done.set()
        for thread in clients:
            thread.join()
    assert errors == []
    assert {answer.split()[0] for answer in answers} >= {"one", "three"}


@pytest.mark.slow
def test_hup_with_a_broken_application_keeps_the_old_one(command, site):
    server = command()
    old = server.wait_until(bool)
    (site / "site_under_test.py").write_text("this is no Python")
    server.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert server.ask() == old
    status, log = server.end()
    assert status == 0
    assert "SyntaxError" in log
    assert "the old ones go on" in log


@pytest.mark.slow
def test_reload_notices_a_change(command, site):
    server = command("--reload")
    server.wait_until(lambda answer: answer.startswith("one"))
    (site / "site_under_test.py").write_text(SITE.format(version="changed"))
    server.wait_until(lambda answer: answer.startswith("changed"))
    assert "has changed" in server.end()[1]


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(command):
    server = command()
    pid = server.wait_until(bool).split()[1]
    os.kill(int(pid), signal.SIGKILL)
    server.wait_until(lambda answer: answer and answer.split()[1] != pid)
    assert "another one starts" in server.end()[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("site_under_test:coroutine", "run it by: uvicorn site_under_test:coroutine"),
        ("site_under_test:instance", "run it by: uvicorn site_under_test:instance"),
        ("site_under_test:nothing", "cannot be called"),
        ("site_under_test:missing", "has no attribute 'missing'"),
        ("missing_module:app", "No module named 'missing_module'"),
    ],
)
def test_what_cannot_be_served_is_said(command, app, message):
    server = command(app=app)
    log = server.process.communicate(timeout=30)[1]
    assert server.process.returncode == 1
    assert message in log


def test_a_factory_makes_the_application(site, monkeypatch):
    from greenio._http.command import load

    monkeypatch.syspath_prepend(site)
    assert load("site_under_test:make()").__name__ == "app"
    del sys.modules["site_under_test"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["app"], "package.module:app"),
        (["m:app", "--workers", "0"], "--workers"),
        (["m:app", "--keyfile", "k"], "--certfile"),
    ],
)
def test_a_wrong_command_line_is_an_error(words, message, capsys):
    from greenio._http.command import main

    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_an_address_that_cannot_be_used_is_said(capfd):
    from greenio._http.command import main

    assert main(["m:app", "--bind", "nowhere"]) == 1
    assert "write host:port" in capfd.readouterr().err
