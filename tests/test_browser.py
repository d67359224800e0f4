"""examples/webapp.py, by clients that others wrote: a browser, urllib and websockets."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from _fresh import PATIENCE, environment
from _websockets import PATIENT

APP = Path(__file__).parent.parent / "examples" / "webapp.py"
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)

pytest.importorskip("httptools")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not APP.exists(), reason="no examples here"),
]


@contextlib.contextmanager
def running(hub):
    """The application, with its address."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(APP), "--port", "0"],
        env=environment(hub),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        yield url, process
    finally:
        process.kill()
        process.communicate()


def wait_for_line(process, seconds):
    """Read a line of output; the process is killed if none comes."""
    import threading

    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        return process.stdout.readline()
    finally:
        timer.cancel()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_in_chromium(loop, tmp_path):
    with running(loop) as (url, process):
        browser = subprocess.Popen(
            [
                BROWSER,
                "--headless=new",
                # A container's root cannot have its sandbox.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                f"--user-data-dir={tmp_path}",
                url,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            line = wait_for_line(process, 120)
        finally:
            browser.kill()
            _, errors = browser.communicate()
    said, _, text = line.partition("the page says ")
    assert (said, bool(text)) == ("", True), errors.decode()
    results = json.loads(text)
    body = b"x" * 3_000_000
    assert results == {
        "tryStream": {"lines": 5, "severalPieces": True},
        "tryUpload": {
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        },
        "tryWebSocket": {
            "answers": [5, 100_000],
            "code": 1000,
            "clean": True,
            "extensions": results["tryWebSocket"]["extensions"],
        },
        "missing": 404,
    }
    assert results["tryWebSocket"]["extensions"].startswith("permessage-deflate")


def test_by_urllib(loop):
    with running(loop) as (url, _):
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert b"<h1>" in answer.read()
        with urllib.request.urlopen(f"{url}stream", timeout=PATIENCE) as answer:
            assert answer.readline() == b"line 0\n"
            begun = time.monotonic()
            assert len(answer.readlines()) == 4
        # The first came long before the last.
        assert time.monotonic() - begun > 0.15
        body = b"z" * 5_000_000
        request = urllib.request.Request(f"{url}upload", body)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert json.load(answer) == {
                "size": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
            }
        for path, status in (("nothing", 404), ("shout", 400)):
            with pytest.raises(urllib.error.HTTPError, match=str(status)) as refused:
                urllib.request.urlopen(f"{url}{path}", timeout=PATIENCE)
            refused.value.close()
        # It serves on.
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert answer.status == 200


def test_by_websockets(loop):
    client = pytest.importorskip("websockets.sync.client")
    with running(loop) as (url, process):
        address = url.replace("http", "ws") + "shout"
        for _ in range(3):
            with client.connect(address, **PATIENT) as ws:
                ws.send("hello")
                assert ws.recv(timeout=PATIENCE) == "HELLO"
                ws.send("é" * 100_000)
                assert ws.recv(timeout=PATIENCE) == "É" * 100_000
            assert ws.protocol.close_code == 1000
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in errors
