"""Socket.IO's own client, in headless Chromium.

The client comes from npm, or from the file that GREENIO_TEST_SOCKETIO_JS names; what is missing
is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile

import pytest

pytest.importorskip("flask_socketio")

from _socketio import KINDS, Service, until

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here"),
]

PAGE = """<!doctype html>
<script src="/client.js"></script>
<script>
"use strict";
const once = (socket, event) => new Promise(done => socket.once(event, done));

async function tryTransports(transports) {
  const socket = io({transports, auth: {name: "Grace"}, forceNew: true});
  const welcome = await once(socket, "welcome");
  if (transports.length === 2) {
    while (socket.io.engine.transport.name !== "websocket") {
      await new Promise(done => setTimeout(done, 20));
    }
  }
  const who = await socket.emitWithAck("who");
  const text = "\\u00e9\\u2603".repeat(20000);
  const echo = await socket.emitWithAck("echo", text) === text;
  const numbers = [];
  socket.on("number", number => numbers.push(number));
  socket.emit("count", 10);
  while (numbers.length < 10) await once(socket, "number");
  socket.emit("throw me out");
  const reason = await once(socket, "disconnect");
  return {name: welcome.name, who, echo, numbers, reason};
}

async function tryBinary() {
  const socket = io("/blobs", {forceNew: true});
  const blob = new Uint8Array(100000).map((_, index) => index % 256);
  const answer = await socket.emitWithAck("reverse", blob, "more");
  const reversed = new Uint8Array(answer.blob);
  const good = reversed.every((value, index) => value === blob[99999 - index]);
  socket.close();
  return {good, more: answer.more[0], end: new TextDecoder().decode(answer.more[1])};
}

async function tryRooms() {
  const sockets = [1, 2, 3].map(n => io({auth: {name: "n" + n}, forceNew: true}));
  await Promise.all(sockets.map(socket => socket.emitWithAck("join", "page")));
  const heard = Promise.all(sockets.slice(1).map(
    socket => new Promise(done => socket.once("said", (who, what) => done([who, what])))
  ));
  sockets[0].emit("say", "page", "hello");
  const result = await heard;
  sockets.forEach(socket => socket.close());
  return result;
}

(async () => {
  const results = {};
  try {
    results.polling = await tryTransports(["polling"]);
    results.websocket = await tryTransports(["websocket"]);
    results.upgrade = await tryTransports(["polling", "websocket"]);
    results.binary = await tryBinary();
    results.rooms = await tryRooms();
  } catch (error) {
    results.error = String(error);
  }
  await fetch("/says", {method: "POST", body: JSON.stringify(results)});
})();
</script>
"""


@pytest.fixture(scope="session")
def client_js(tmp_path_factory):
    """The file of Socket.IO's client for browsers."""
    given = os.environ.get("GREENIO_TEST_SOCKETIO_JS")
    if given:
        return given
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here; name the client's file by GREENIO_TEST_SOCKETIO_JS")
    folder = tmp_path_factory.mktemp("npm")
    done = subprocess.run(
        [npm, "pack", "--silent", "socket.io-client@4"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm has no socket.io-client for us: {done.stderr}")
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        member = archive.extractfile("package/dist/socket.io.min.js")
        (folder / "client.js").write_bytes(member.read())
    return str(folder / "client.js")


@pytest.mark.parametrize("kind", KINDS)
def test_in_chromium(kind, client_js, tmp_path):
    (tmp_path / "page.html").write_text(PAGE)
    files = {"TEST_CLIENT_JS": client_js, "TEST_PAGE": str(tmp_path / "page.html")}
    with Service(tmp_path, kind, **files) as service:
        browser = subprocess.Popen(
            [
                BROWSER,
                "--headless=new",
                # A container's root cannot have its sandbox.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"{service.url}/page",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            log = until(
                lambda: "the page says" in service.log and service.log,
                "the page is through",
                patience=150,
            )
        finally:
            browser.kill()
            browser.wait()
    line = next(line for line in log.splitlines() if "the page says" in line)
    results = json.loads(line.partition("the page says ")[2])
    assert "error" not in results
    for way in ("polling", "websocket", "upgrade"):
        assert results.pop(way) == {
            "name": "Grace",
            "who": ["Grace", "polling" if way == "polling" else "websocket"],
            "echo": True,
            "numbers": list(range(10)),
            "reason": "io server disconnect",
        }
    assert results == {
        "binary": {"good": True, "more": "more", "end": "end"},
        "rooms": [["n1", "hello"]] * 2,
    }
