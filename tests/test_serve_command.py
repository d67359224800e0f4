"""``python -m greenio serve``: workers, signals, and what it refuses."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

STARTED = "wsgi starting up"

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
    """The command, on a port that the system chooses; what it says goes to a file."""

    def __init__(self, site, *words, app="site_under_test:app"):
        self.site = site
        self.workers = int(
            words[words.index("--workers") + 1] if "--workers" in words else 1
        )
        self._log = site / f"log-{time.monotonic_ns()}"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "greenio", "serve", app),
                    *("--bind", "127.0.0.1:0", *words),
                ],
                cwd=site,
                stderr=log,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                start_new_session=True,
            )

    @property
    def log(self):
        return self._log.read_text()

    @property
    def port(self):
        """Where it listens; all of its workers do, when this is known."""
        log = self.log_until(STARTED, self.workers)
        return int(re.search(rf"{STARTED} on \S+:(\d+)", log)[1])

    def ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def ask_for_a_moment(self):
        """Ask, and get nothing from one who does not answer soon."""
        with socket.create_connection(("127.0.0.1", self.port), 20) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            sock.settimeout(0.5)
            try:
                with http.client.HTTPResponse(sock) as response:
                    response.begin()
                    return response.read().decode()
            except TimeoutError:
                return ""

    def wait_until(self, condition):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            answer = self.ask()
            if condition(answer):
                return answer
            time.sleep(0.02)
        raise AssertionError(f"it did not happen: {self.log}")

    def wait_until_all_say(self, version):
        """Wait until many requests, whichever worker takes them, have that answer."""
        in_turn = 0

        def has_come(answer):
            nonlocal in_turn
            in_turn = in_turn + 1 if answer.startswith(version) else 0
            return in_turn == 20

        self.wait_until(has_come)

    def log_until(self, text, times=1):
        """Wait for lines with that text; return the log as far as it goes."""
        end = time.monotonic() + 60
        while (log := self.log).count(text) < times:
            assert self.process.poll() is None or self.log != log, log
            assert time.monotonic() < end, log
            time.sleep(0.02)
        return log

    def children(self):
        return psutil.Process(self.process.pid).children()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        """Wait for its end; return its status and all that it said."""
        status = self.process.wait(timeout=60)
        return status, self.log


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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal(command, loop, number):
    server = command("--hub", loop, "--workers", "2")
    server.wait_until(lambda answer: answer.startswith("one"))
    status, log = server.end(number)
    assert status == 0
    assert '"GET / HTTP/1.1" 200 ' in log
    assert log.count("wsgi exited, SIGTERM came") == 2


SLOW_TO_IMPORT = """\
import sys, time

print("importing", file=sys.stderr, flush=True)
time.sleep(1000)
"""


@pytest.mark.slow
def test_workers_that_are_starting_end_at_once(command, site):
    (site / "slow_to_import.py").write_text(SLOW_TO_IMPORT)
    words = ("--workers", "2", "--graceful-timeout", "1000")
    server = command(*words, app="slow_to_import:app")
    server.log_until("importing", times=2)
    assert server.end() == (0, "importing\n" * 2)


@pytest.mark.slow
def test_an_interrupt_from_the_terminal_is_the_supervisors(command, site):
    (site / "slow_to_import.py").write_text(SLOW_TO_IMPORT)
    server = command("--workers", "2", app="slow_to_import:app")
    while len(server.children()) < 2:
        assert server.process.poll() is None
    # They have just been started, and may be anywhere in it.
    os.killpg(server.process.pid, signal.SIGINT)
    status, log = server.ended()
    assert (status, log.replace("importing\n", "")) == (0, "")


@pytest.mark.slow
def test_each_worker_has_a_socket_with_reuse_port(command):
    server = command("--workers", "2", "--reuse-port")
    assert server.port
    pid = int(server.ask().split()[1])
    # Its socket waits for it: the other one, who has nothing to do, does not take its
    # connections.
    os.kill(pid, signal.SIGSTOP)
    answered = set()
    end = time.monotonic() + 60
    try:
        while len(answered) < 2:
            assert time.monotonic() < end, answered
            answered.add(server.ask_for_a_moment())
    finally:
        os.kill(pid, signal.SIGCONT)
    (other,) = answered - {""}
    assert other.split()[1] != str(pid)


class Load:
    """Clients that ask as fast as they can, some on connections that they keep.

    The application writes down each request that it begins; the clients, each answer that
    they have got. Nothing may be lost between.
    """

    def __init__(self, server, clients=4):
        self.server = server
        self.port = server.port
        self.answers = {}
        self.errors = []
        self.stopping = False
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask_on, args=(number,))
            for number in range(clients)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.stopping = True
        for thread in self._threads:
            thread.join()

    def _ask_on(self, client):
        keeps = client % 2 == 0
        connection = None
        number = 0
        while not self.stopping:
            number += 1
            name = f"/{client}-{number}"
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(
                        "127.0.0.1", self.port, timeout=20
                    )
                connection.request("POST", name, b"x" * 2000)
                response = connection.getresponse()
                answer = response.read().decode()
                with self._lock:
                    self.answers[name] = answer
                if not keeps or response.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as exc:
                with self._lock:
                    self.errors.append((name, exc))
                connection.close()
                connection = None
                time.sleep(0.01)
        if connection is not None:
            connection.close()

    def lost(self):
        begun = (self.server.site / "begun").read_text().split()
        return [name for name in begun if name not in self.answers]

    def wait_for(self, version):
        count = len(self.answers)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            answers = list(self.answers.values())[count:]
            if any(answer.startswith(version) for answer in answers):
                return
            time.sleep(0.02)
        raise AssertionError(f"{version} never answered; {self.errors[:5]}")


LOADED_SITE = """\
import os, time

VERSION = "{version}"
begun = os.open("begun", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

def app(environ, start_response):
    os.write(begun, environ["PATH_INFO"].encode() + b"\\n")
    if environ["REQUEST_METHOD"] == "POST":
        assert len(environ["wsgi.input"].read()) == 2000
    time.sleep(0.005)
    start_response("200 OK", [])
    return [f"{{VERSION}} {{os.getpid()}}".encode()]
"""


def loaded(site, version):
    name = site / "loaded_site.py"
    name.write_text(LOADED_SITE.format(version=version))
    return name


def restart_under_load(command, site, words, trigger, versions):
    loaded(site, "first")
    server = command(*words, app="loaded_site:app")
    with Load(server) as load:
        load.wait_for("first")
        for version in versions:
            loaded(site, version)
            trigger(server)
            load.wait_for(version)
    assert load.errors == []
    assert load.lost() == []
    assert len(load.answers) > 10
    return server


def hup(server):
    server.process.send_signal(signal.SIGHUP)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--reuse-port",)], ids=["shared", "own"])
def test_hup_loses_no_request(command, site, loop, more):
    words = ("--hub", loop, "--no-access-log", "--workers", "2", *more)
    server = restart_under_load(command, site, words, hup, ["second!", "third"])
    status, log = server.end()
    assert status == 0
    # A worker that is not needed any more before it is ready says nothing.
    assert log.count(STARTED) == log.count("wsgi exited, SIGTERM came") >= 3


@pytest.mark.stress
def test_ten_restarts_lose_no_request(command, site, loop):
    words = ("--hub", loop, "--no-access-log", "--workers", "2")
    versions = [f"v{'x' * number}." for number in range(10)]
    server = restart_under_load(command, site, words, hup, versions)
    assert server.end()[0] == 0


@pytest.mark.stress
def test_ten_reloads_lose_no_request(command, site, loop):
    words = ("--hub", loop, "--no-access-log", "--workers", "2", "--reload")
    versions = [f"v{'x' * number}." for number in range(10)]
    server = restart_under_load(command, site, words, lambda server: None, versions)
    # Changes that follow closely are seen as one, but the last one reaches all workers.
    server.wait_until_all_say(versions[-1])
    assert "has changed" in server.end()[1]


def end_under_load(command, site, words):
    loaded(site, "first")
    server = command(*words, app="loaded_site:app")
    with Load(server) as load:
        load.wait_for("first")
        load.wait_for("first")
        status, log = server.end()
    assert status == 0
    assert load.lost() == []
    assert "were still in use" not in log
    return log


@pytest.mark.slow
def test_sigterm_answers_what_was_begun(command, site, loop):
    log = end_under_load(command, site, ("--hub", loop, "--workers", "2"))
    assert log.count("wsgi exited, SIGTERM came") == 2


@pytest.mark.stress
@pytest.mark.parametrize("time_of_ten", range(10))
def test_ten_ends_lose_no_request(command, site, loop, time_of_ten):
    end_under_load(command, site, ("--hub", loop, "--workers", "2"))


@pytest.mark.slow
def test_workers_end_with_their_supervisor(command):
    server = command()
    pid = int(server.wait_until(bool).split()[1])
    server.process.kill()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("the worker goes on")
    assert "its supervisor is gone" in server.log


@pytest.mark.slow
def test_a_unix_socket_that_was_left_is_taken_over(command, site):
    path = str(site / "s")
    for _ in range(2):
        server = command("--bind", f"unix:{path}")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with socket.socket(socket.AF_UNIX) as sock:
                try:
                    sock.connect(path)
                except OSError:
                    time.sleep(0.02)
                    continue
                sock.settimeout(20)
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert sock.recv(100).startswith(b"HTTP/1.1 200 OK")
                break
        else:
            raise AssertionError(server.end()[1])
        status, log = server.end()
        assert status == 0, log
    (site / "f").write_text("a file")
    server = command("--bind", f"unix:{site / 'f'}")
    assert "cannot listen" in server.ended()[1]
    assert (site / "f").read_text() == "a file"


@pytest.mark.slow
def test_hup_with_a_broken_application_keeps_the_old_one(command, site):
    server = command()
    old = server.wait_until(bool)
    (site / "site_under_test.py").write_text("this is no Python")
    server.process.send_signal(signal.SIGHUP)
    assert "SyntaxError" in server.log_until("the old ones go on")
    assert server.ask() == old
    assert server.end()[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("first", ["works", "fails"])
def test_hup_takes_over_with_all_new_workers_or_none(command, site, first):
    server = command("--workers", "2")
    server.wait_until(bool)
    old = set(server.children())
    # Of the two new ones, one can be imported.
    (site / "site_under_test.py").write_text(
        SITE.format(version="changed") + ONE_FAILS.format(works=first == "works")
    )
    server.process.send_signal(signal.SIGHUP)
    server.log_until("the old ones go on")
    end = time.monotonic() + 30
    while set(server.children()) != old:
        assert time.monotonic() < end, server.log
        time.sleep(0.02)
    assert server.ask().startswith("one")
    status, log = server.end()
    assert status == 0
    assert log.count("the old ones go on") == 1


ONE_FAILS = """
try:
    os.close(os.open("first", os.O_CREAT | os.O_EXCL))
    first = True
except FileExistsError:
    first = False
if first is not {works}:
    # When the other one is as far as it gets.
    time.sleep(0.5)
    raise ValueError("it fails")
"""


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


WATCHED = """\
import asyncio, faulthandler, logging

records = []
logging.getLogger("greenio.debug").addFilter(lambda record: records.append(record) or True)

def app(environ, start_response):
    while not records:
        pass
    start_response("200 OK", [])
    debug = asyncio.get_running_loop().get_debug()
    return [f"{debug} {faulthandler.is_enabled()}".encode()]
"""


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--no-patch",)], ids=["patched", "plain"])
def test_workers_are_watched_by_option(command, site, loop, more):
    (site / "watched.py").write_text(WATCHED)
    words = ("--hub", loop, "--monitor", "--debug", *more)
    server = command(*words, app="watched:app")
    assert server.ask() == "True True"
    server.log_until("has been blocking the loop for ")
    assert server.end()[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("site_under_test:coroutine", "run it by: uvicorn site_under_test:coroutine"),
        ("site_under_test:instance", "run it by: uvicorn site_under_test:instance"),
        ("site_under_test:nothing", "cannot be called"),
        ("site_under_test:make", "write: site_under_test:make()"),
        ("site_under_test:missing", "has no attribute 'missing'"),
        ("missing_module:app", "No module named 'missing_module'"),
    ],
)
def test_what_cannot_be_served_is_said(command, app, message):
    server = command(app=app)
    status, log = server.ended()
    assert status == 1
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
        (["m:app", "--reuse-port", "--bind", "unix:/s"], "--reuse-port"),
        (["m:app", "--keyfile", "k"], "--certfile"),
        (["m:app", "--max-size", "0"], "--max-size"),
        (["m:app", "--keepalive", "-1"], "--keepalive"),
        (["m:app", "--graceful-timeout", "-1"], "--graceful-timeout"),
        (["m:app", "--backlog", "0"], "--backlog"),
        (["m:app", "--monitor=-1"], "--monitor takes a number of seconds above 0"),
        (["m:app", "--log-format", "%(nothing)s"], "client_ip"),
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


# The worker that watches is late: it waits before it begins.
LATE = """\
import os, sys, time

if "--inherited" in sys.orig_argv and sys.orig_argv[-1] != "0":
    while not os.path.exists("go"):
        time.sleep(0.01)
"""


@pytest.mark.slow
def test_reload_notices_a_change_after_another_worker_began(command, site, monkeypatch):
    (site / "sitecustomize.py").write_text(LATE)
    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    server = command("--reload", "--workers", "2")
    server.log_until(STARTED, 1)
    (site / "site_under_test.py").write_text(SITE.format(version="another"))
    # As a worker that begins after the change would find it.
    (site / "go").touch()
    server.log_until("has changed")
    server.wait_until_all_say("another")
    assert server.end()[0] == 0
