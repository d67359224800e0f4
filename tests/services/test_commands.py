"""The commands of the pages that need servers, or clients of them."""

from __future__ import annotations

import re
import urllib.request

import pytest

from _pages import ROOT, Pasted, port_of_the_page, the_page_has

EXAMPLE = ROOT / "examples" / "migration"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.service,
    pytest.mark.skipif(not EXAMPLE.exists(), reason="no examples here"),
]


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


@pytest.mark.parametrize("option", ["", "--hub uvloop "])
def test_the_first_stage_of_a_migration(postgresql, redis, option):
    pytest.importorskip("psycopg2")
    if option:
        pytest.importorskip("uvloop")
    command = f"python -m greenio {option}stage1/app.py"
    own = {"SHOP_DATABASE": postgresql, "SHOP_REDIS": redis, "SHOP_PORT": "0"}
    with Pasted(the_page_has("howto/migrating.md", command), EXAMPLE, **own) as shop:
        port = shop.hear(r"shop on port (\d+)")[1]
        assert b'"stage": 1' in read(f"http://127.0.0.1:{port}/health")
        assert shop.end() == 0, shop.log()


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
def test_an_application_inside_fastapi(tmp_path, server):
    """The page's program, too, with a small application as its shop."""
    for needed in ("fastapi", "flask", server):
        pytest.importorskip(needed)
    page = ROOT / "docs" / "howto" / "wsgi-in-asgi.md"
    program = re.search(
        r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "main.py").write_text(program[1])
    (tmp_path / "shop.py").write_text(
        "import time\nfrom flask import Flask\n\nflask_app = Flask('shop')\n\n\n"
        "@flask_app.get('/old')\ndef old():\n    time.sleep(0.01)\n"
        "    return time.sleep.__module__\n"
    )
    command = the_page_has("howto/wsgi-in-asgi.md", f"{server} main:app")
    with port_of_the_page(8000), Pasted(command, tmp_path) as asgi:
        url = asgi.hear(r"[Rr]unning on (http://[\d.:]+)")[1]
        assert read(f"{url}/new") == b'{"written":"today"}'
        assert read(f"{url}/old") == b"greenio.green.time"
        asgi.end()
