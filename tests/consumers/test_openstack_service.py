"""oslo.service: workers, signals, periodic tasks, looping calls, the backdoor and WSGI."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

pytest.importorskip("oslo_service")

from _runtimes import PATIENCE, Running

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path, runtime):
    started = []

    def start(program, *arguments, settings=""):
        (tmp_path / "service.conf").write_text(f"[DEFAULT]\n{settings}\n")
        started.append(Running(runtime, program, *arguments, folder=tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.__exit__()


def pids(running: Running, word: str) -> list[int]:
    """Who said a word, in order."""
    return [int(rest.split()[0]) for rest in running.said(word)]


def alive(running: Running) -> set[int]:
    """The workers that are there."""
    return {child.pid for child in psutil.Process(running.process.pid).children()}


def ready(running: Running, count: int) -> set[int]:
    """Wait for so many workers that have started; return them."""

    def started():
        now = alive(running)
        return len(now) == count and now <= set(pids(running, "retried")) and now

    return running.until(started, f"{count} workers")


def test_workers_tick_and_end(start, runtime):
    running = start("workers", "2")
    workers = ready(running, 2)
    [module] = running.hear("module")
    assert module.split(".")[0] == ("eventlet" if runtime == "eventlet" else "greenio")
    for word in ("periodic", "dynamic"):
        running.until(
            lambda word=word: all(
                pids(running, word).count(each) > 2 for each in workers
            ),
            f"{word} three times in each",
        )
    assert {*running.said("looped")} == {f"{each} 5" for each in workers}
    assert {*running.said("backed")} == {f"{each} 8" for each in workers}
    assert {*running.said("retried")} == {f"{each} 10" for each in workers}
    assert "Error during Tasks.failing" in running.text()
    running.process.send_signal(signal.SIGTERM)
    assert running.ended() == 0, running.text()
    for word in ("stop", "cleaned"):
        assert workers <= set(pids(running, word)), word
    assert running.said("end")


def test_a_command_that_cannot_be_changed(loop, tmp_path):
    """The environment alone decides."""
    said = subprocess.run(
        [sys.executable, "-m", "greenio", "--environment"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    variables = dict(line.split("=", 1) for line in said.splitlines())
    (tmp_path / "service.conf").write_text("[DEFAULT]\n")
    # As eventlet's own: `python program`.
    with Running(
        "eventlet", "workers", "2", folder=tmp_path, GREENIO_HUB=loop, **variables
    ) as running:
        assert running.hear("module") == ["greenio.greenthread"]
        ready(running, 2)
        running.process.send_signal(signal.SIGTERM)
        assert running.ended() == 0


def test_a_killed_worker_is_replaced(start):
    running = start("workers", "2")
    first, other = ready(running, 2)
    os.kill(first, signal.SIGKILL)
    running.until(lambda: first not in alive(running), "it is gone")
    after = ready(running, 2)
    assert other in after
    assert first not in after
    running.process.send_signal(signal.SIGTERM)
    assert running.ended() == 0


def test_hup_starts_new_workers_with_new_settings(start, tmp_path):
    running = start("workers", "2", settings="greeting = hello")
    old = ready(running, 2)
    (tmp_path / "service.conf").write_text("[DEFAULT]\ngreeting = bonjour\n")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: not old & alive(running), "new workers")
    new = ready(running, 2)
    greetings = dict(rest.split()[:2] for rest in running.said("start"))
    assert {greetings[str(each)] for each in old} == {"hello"}
    assert {greetings[str(each)] for each in new} == {"bonjour"}
    assert old <= set(pids(running, "stop"))
    running.process.send_signal(signal.SIGTERM)
    assert running.ended() == 0


def test_hup_changes_settings_of_workers_that_stay(start, tmp_path):
    running = start("workers", "2", "mutate", settings="greeting = hello")
    workers = ready(running, 2)
    for greeting in ("bonjour", "ciao"):
        (tmp_path / "service.conf").write_text(f"[DEFAULT]\ngreeting = {greeting}\n")
        running.process.send_signal(signal.SIGHUP)
        wanted = {f"{each} {greeting}" for each in workers}
        running.until(
            lambda wanted=wanted: wanted <= {*running.said("reset")}, greeting
        )
    assert alive(running) == workers
    running.process.send_signal(signal.SIGTERM)
    assert running.ended() == 0


@pytest.mark.parametrize("method", ["reload", "mutate"])
def test_one_process_restarts_its_service_in_place(start, tmp_path, method):
    running = start("workers", "1", method, settings="greeting = hello")
    running.hear("retried")
    for greeting in ("bonjour", "ciao"):
        (tmp_path / "service.conf").write_text(f"[DEFAULT]\ngreeting = {greeting}\n")
        running.process.send_signal(signal.SIGHUP)
        wanted = f"{running.process.pid} {greeting}"
        running.until(lambda wanted=wanted: wanted in running.said("reset"), greeting)
        ticks = len(running.said("dynamic"))
        running.hear("dynamic", ticks + 3)
    assert len(running.said("start")) == (3 if method == "reload" else 1)
    running.process.send_signal(signal.SIGTERM)
    assert running.ended() == 0
    assert running.said("end")


def test_workers_notice_that_their_parent_is_gone(start):
    running = start("workers", "2")
    workers = ready(running, 2)
    running.process.kill()
    running.ended()
    deadline = time.monotonic() + PATIENCE
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(
        psutil.pid_exists(each)
        and psutil.Process(each).status() != psutil.STATUS_ZOMBIE
        for each in workers
    )
    assert workers <= set(pids(running, "stop"))


def test_an_interrupt_ends_all_at_once(start):
    running = start("workers", "2")
    ready(running, 2)
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.ended() == 1
    assert not running.said("end")


def until_prompt(sock: socket.socket) -> str:
    seen = ""
    while not seen.endswith(">>> "):
        more = sock.recv(65536)
        assert more, seen
        seen += more.decode()
    return seen


def test_backdoor_of_each_worker(start, tmp_path):
    running = start(
        "workers", "2", settings=f"backdoor_socket = {tmp_path}/door-{{pid}}"
    )
    for worker in ready(running, 2):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(f"{tmp_path}/door-{worker}")
            seen = until_prompt(sock)
            for line in (b"import os; os.getpid() * 2\n", b"pgt()\n"):
                sock.sendall(line)
                seen += until_prompt(sock)
        assert str(worker * 2) in seen
        # The stacks of its green threads.
        assert "in long" in seen
        assert "in run_service" in seen
    running.process.send_signal(signal.SIGTERM)
    assert running.ended() == 0


def ask(port: int, path: str, body: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body)
    return sock


def answer(sock: socket.socket, *, close: bool = True) -> tuple[int, str]:
    """Read an answer to its end; a keep-alive connection stays open if asked for."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (more := sock.recv(65536))
        assert more, data
    head, body = data.split(b"\r\n\r\n", 1)
    lengths = [
        int(line.split(b":")[1])
        for line in head.splitlines()
        if line.lower().startswith(b"content-length:")
    ]
    while len(body) < lengths[0]:
        body += (more := sock.recv(65536))
        assert more, data
    if close:
        sock.close()
    return int(head.split()[1]), body.decode()


def test_wsgi_server_ends_when_its_requests_have(start):
    running = start("wsgi_service", "2")
    port = int(running.hear("port")[0])
    running.hear("start", 2)
    workers = alive(running)
    answers = [answer(ask(port, "/", b"x" * 10_000)) for _ in range(20)]
    assert all(status == 200 and body.endswith(" 10000") for status, body in answers)
    assert {int(body.split()[0]) for _, body in answers} <= workers
    status, body = answer(ask(port, "/fail"))
    assert status == 500
    assert "for the log" not in body
    assert "for the log" in running.text()
    idle = ask(port, "/")
    answer(idle, close=False)
    slow = [ask(port, "/slow") for _ in range(10)]
    running.hear("slow", 10)
    running.process.send_signal(signal.SIGTERM)
    assert [answer(sock)[0] for sock in slow] == [200] * 10
    idle.close()
    assert running.ended() == 0, running.text()
    assert running.said("end") == [""]
