"""The example of a service: gunicorn's configuration, behind nginx where there is one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from _gunicorn import Gunicorn

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "gunicorn"
NGINX = os.environ.get("GREENIO_TEST_NGINX") or shutil.which("nginx")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLE.exists(), reason="no examples here"),
]


@pytest.fixture
def service(tmp_path, loop):
    shutil.copy(EXAMPLE / "service.py", tmp_path)
    app = "from service import app"
    conf = (EXAMPLE / "gunicorn.conf.py").read_text()
    server = Gunicorn(tmp_path, loop, app, conf=conf, environ={"WEB_CONCURRENCY": "2"})
    yield server
    server.kill()


def test_the_service(service):
    service.until(lambda: service.ask("/health") == "alive\n")
    service.until(lambda: len(service.workers()) == 2)
    assert service.ask("/gathered") == "gathered\n"
    assert service.ask("/ready") == "ready\n"
    assert service.respond("/nothing")[0].status == 404
    text = service.until(lambda: "view" in (found := service.ask("/metrics")) and found)
    for line in text.splitlines():
        assert re.fullmatch(r'service_\w+\{pid="\d+"(,view="\w+")?\} [\d.]+', line)
    # One that has only just begun may miss what its arbiter tells it.
    service.until(lambda: service.log.count("Booting worker") == 2)
    assert service.end().count("Worker exiting") == 2


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_behind_nginx(service, tmp_path):
    service.until(lambda: service.ask("/health"))
    port = service.port
    with socket.create_server(("127.0.0.1", 0)) as probe:
        front = probe.getsockname()[1]
    text = (EXAMPLE / "nginx.conf").read_text()
    text = text.replace("unix:/run/service/service.sock", f"127.0.0.1:{port}")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{front};")
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off;\n"
        + "".join(
            f"{kind}_temp_path {tmp_path}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + text
        + "}\n"
    )
    nginx = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", "nginx.conf"])
    try:
        service.port = front
        service.until(lambda: service.ask("/health") == "alive\n")
        for number in range(100):
            if number == 50:
                service.send_signal(signal.SIGHUP)
            assert service.ask("/gathered") == "gathered\n"
    finally:
        nginx.terminate()
        nginx.wait()
