"""kazoo with its handler for eventlet, on a ZooKeeper of the test's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("kazoo")

from _runtimes import PATIENCE, run

pytestmark = pytest.mark.slow
# Where Debian's package has it.
JAR = Path("/usr/share/java/zookeeper.jar")


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory):
    """Where a ZooKeeper is: one that the environment names, or a fresh one."""
    if where := os.environ.get("GREENIO_TEST_ZOOKEEPER"):
        yield where
        return
    if not JAR.exists() or shutil.which("java") is None:
        pytest.skip("no ZooKeeper: neither Debian's package nor GREENIO_TEST_ZOOKEEPER")
    folder = tmp_path_factory.mktemp("zookeeper")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = folder / "zoo.cfg"
    settings.write_text(
        f"tickTime=500\ndataDir={folder}/data\nclientPort={port}\n"
        "clientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
    )
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["java", "-Xmx128m", "-cp", f"{JAR}:{JAR.parent}/*", main, str(settings)],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(b"srvr")
            return sock.recv(100).startswith(b"Zookeeper")
    except OSError:
        return False


def test_nodes_watches_locks_and_recipes(runtime, zookeeper, tmp_path):
    said = run(runtime, "zookeeper", zookeeper, folder=tmp_path)
    assert said.splitlines()[-1] == "done SequentialEventletHandler"
