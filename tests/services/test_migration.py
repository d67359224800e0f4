"""One service, moved from eventlet style to asyncio in four stages.

Every stage of examples/migration passes the same tests, from outside.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import itertools
import json
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from _fresh import PATIENCE, environment

STAGES = Path(__file__).parent.parent.parent / "examples" / "migration"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.service,
    pytest.mark.skipif(not STAGES.exists(), reason="no examples here"),
]


@pytest.fixture(scope="module")
def place(postgresql, redis):
    """Where a shop keeps its things: a schema and a prefix of its own."""
    psycopg2 = pytest.importorskip("psycopg2")
    redis_module = pytest.importorskip("redis")
    name = f"greenio_{uuid.uuid4().hex[:12]}"
    with contextlib.closing(psycopg2.connect(postgresql)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create schema {name}")
            options = f"options=-csearch_path%3D{name}&application_name={name}"
            separator = "&" if "?" in postgresql else "?"
            yield {
                "SHOP_DATABASE": f"{postgresql}{separator}{options}",
                "SHOP_REDIS": redis,
                "SHOP_PREFIX": name,
            }
            # Nothing of the shop is connected any longer.
            until(lambda: connections_of(cursor, name) == 0)
            cursor.execute(f"drop schema {name} cascade")
    with contextlib.closing(redis_module.Redis.from_url(redis)) as client:
        for key in client.scan_iter(f"{name}:*"):
            client.delete(key)


def connections_of(cursor, name):
    cursor.execute(
        "select count(*) from pg_stat_activity where application_name like %s",
        (f"{name}%",),
    )
    return cursor.fetchone()[0]


def napping(cursor):
    """How many reports the database is busy with."""
    cursor.execute(
        "select count(*) from pg_stat_activity where state = 'active'"
        " and application_name = current_setting('application_name')"
        " and pid <> pg_backend_pid() and query like '%pg_sleep%'"
    )
    return cursor.fetchone()[0]


def can_read(connection):
    return select.select([connection.sock], [], [], 0)[0]


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.01)


class Shop:
    """A running stage, and a client of it."""

    def __init__(
        self, stage: str, hub: str, place: dict[str, str], **more: str
    ) -> None:
        directory = "stage1" if stage == "eventlet" else stage
        options = {
            "stage1": ["-m", "greenio", f"--hub={hub}"],
            # It says that it is deprecated.
            "eventlet": ["-W", "ignore"],
        }.get(stage, [])
        variables = {**place, "SHOP_PORT": "0", "SHOP_LOOP": hub, **more}
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        self.process = subprocess.Popen(
            [sys.executable, *options, str(STAGES / directory / "app.py")],
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        try:
            self.port = self._read_port()
            assert self.get("/health") == {"stage": int(directory[-1])}
        except BaseException:
            self.close()
            raise

    def _read_port(self) -> int:
        """Wait until it says that it listens."""
        line = self.process.stdout.readline()
        match = re.fullmatch(r"shop on port (\d+)\n", line)
        assert match, (line, self.read_log())
        return int(match[1])

    def read_log(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def begin(self, method, path, value=None):
        """Send a request; the answer can be read from what is returned."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=PATIENCE
        )
        body = None if value is None else json.dumps(value)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return connection

    def request(self, method, path, value=None):
        return finish(self.begin(method, path, value))

    def get(self, path):
        response = self.request("GET", path)
        assert response.status == 200, (response.status, response.value)
        return response.value

    def post(self, path, value=None, status=201):
        response = self.request("POST", path, value or {})
        assert response.status == status, (response.status, response.value)
        return response.value

    def add_product(self, stock=1000):
        return self.post("/products", {"name": "pen", "price": 3, "stock": stock})["id"]

    def place_order(self, product):
        return self.post("/orders", {"product": product, "quantity": 2})["id"]

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self, expected: str = "") -> None:
        """Wait for its end, which must be a good one, and quiet if nothing else."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        log = self.read_log()
        assert (self.process.returncode, out) == (0, ""), log
        assert re.search(expected, log) if expected else log == "", log

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.process.stdout.close()
        self.log.close()


def finish(connection):
    with contextlib.closing(connection):
        response = connection.getresponse()
        content = response.read()
    response.value = json.loads(content)
    return response


def read_event(response):
    """Return the next event of a stream, None at its end."""
    for line in iter(response.readline, b""):
        if line.strip():
            return json.loads(line)
    return None


def states(response):
    return [event["state"] for event in iter(lambda: read_event(response), None)]


STYLES = ["stage1", "stage2", "stage3", "stage4"]
SUCCESSORS = {"eventlet": "stage1", **dict(itertools.pairwise(STYLES))}
if importlib.util.find_spec("eventlet") is not None:
    STYLES.append("eventlet")


@pytest.fixture(scope="module", params=STYLES)
def stage(request, hub):
    if request.param == "eventlet" and hub != "asyncio":
        pytest.skip("eventlet has its own loop")
    return request.param


@pytest.fixture(scope="module")
def shop(stage, hub, place):
    """A shop for all tests that do not stop it; it must end well, too."""
    with contextlib.closing(Shop(stage, hub, place)) as shop:
        yield shop
        shop.terminate()
        shop.ended()


def test_what_the_stages_claim():
    """What is the same in two stages, and who knows of greenio."""
    for name in ("settings.py", "shop.py", "worker.py"):
        first, second = ((STAGES / stage / name).read_text() for stage in STYLES[:2])
        assert first == second
    imports = {
        stage: set(
            re.findall(r"^(?:import|from) (eventlet|greenio)\b", text, re.MULTILINE)
        )
        for stage in ("stage1", "stage2", "stage3", "stage4")
        for text in ["".join(p.read_text() for p in (STAGES / stage).glob("*.py"))]
    }
    assert imports == {
        "stage1": {"eventlet"},
        "stage2": {"eventlet", "greenio"},
        "stage3": {"greenio"},
        "stage4": set(),
    }


def test_products_are_cached_until_they_change(shop):
    product = shop.add_product(stock=10)
    path = f"/products/{product}"
    expected = {"id": product, "name": "pen", "price": 3, "stock": 10}
    for cache in ("miss", "hit", "hit"):
        response = shop.request("GET", path)
        assert (response.value, response.headers["X-Cache"]) == (expected, cache)
    shop.place_order(product)
    response = shop.request("GET", path)
    assert response.value == {**expected, "stock": 8}
    assert response.headers["X-Cache"] == "miss"


def test_orders_never_take_more_than_there_is(shop):
    before = shop.get("/report")
    product = shop.add_product(stock=21)
    order = {"product": product, "quantity": 1}
    begun = [shop.begin("POST", "/orders", order) for _ in range(50)]
    answers = [finish(connection) for connection in begun]
    assert sorted(answer.status for answer in answers) == [201] * 21 + [409] * 29
    numbers = {answer.value["id"] for answer in answers if answer.status == 201}
    assert len(numbers) == 21
    assert shop.get(f"/products/{product}")["stock"] == 0
    after = shop.get("/report")
    assert after["orders"] - before["orders"] == 21
    assert after["total"] - before["total"] == 63


def test_a_refused_order_leaves_nothing(shop):
    before = shop.get("/report")
    product = shop.add_product(stock=5)
    answer = shop.request("POST", "/orders", {"product": product, "quantity": 6})
    assert answer.status == 409
    # The stock would allow it, the table does not: it is taken back.
    answer = shop.request("POST", "/orders", {"product": product, "quantity": 0})
    assert answer.status == 409
    assert "check constraint" in answer.value["error"]
    assert shop.get(f"/products/{product}")["stock"] == 5
    assert shop.get("/report")["orders"] == before["orders"]


def test_mistakes_of_the_client(shop):
    for method, path, value, status in [
        ("GET", "/nowhere", None, 404),
        ("GET", "/products/1000000", None, 404),
        ("GET", "/orders/1000000", None, 404),
        ("GET", "/orders/1000000/events", None, 404),
        ("POST", "/products", {"colour": "red"}, 400),
    ]:
        assert shop.request(method, path, value).status == status, path
    order = shop.place_order(shop.add_product())
    shop.post(f"/orders/{order}/payment", status=202)
    assert shop.request("POST", f"/orders/{order}/payment", {}).status == 409


def test_a_hundred_streams_wait_at_once(shop):
    """All have begun before the one thing happens that all wait for."""
    order = shop.place_order(shop.add_product())
    begun = [shop.begin("GET", f"/orders/{order}/events") for _ in range(100)]
    responses = [connection.getresponse() for connection in begun]
    for response in responses:
        assert response.status == 200
        assert read_event(response) == {"state": "placed"}
    # Others are served meanwhile.
    assert shop.get(f"/orders/{order}")["state"] == "placed"
    paid = shop.post(f"/orders/{order}/payment", status=202)
    assert paid["total"] == 6
    for connection, response in zip(begun, responses, strict=True):
        assert states(response) == ["paid", "sent"]
        connection.close()
    assert shop.get(f"/orders/{order}")["state"] == "sent"


def test_a_hundred_slow_reports_overlap(shop):
    """By the database's clock, it worked on as many as it has connections."""
    begun = [shop.begin("GET", "/report") for _ in range(100)]
    answers = [finish(connection) for connection in begun]
    assert {answer.status for answer in answers} == {200}
    busy = [answer.value["busy"] for answer in answers]
    peak = max(sum(begin <= at < end for begin, end in busy) for at, _ in busy)
    assert 5 <= peak <= 10


def test_jobs_are_done_in_the_background(shop):
    product = shop.add_product()
    orders = [shop.place_order(product) for _ in range(30)]
    for order in orders:
        shop.post(f"/orders/{order}/payment", status=202)
    for order in orders:
        until(lambda order=order: shop.get(f"/orders/{order}")["state"] == "sent")


def test_clients_that_go_away(shop):
    order = shop.place_order(shop.add_product())
    begun = [shop.begin("GET", f"/orders/{order}/events") for _ in range(20)]
    for connection in begun:
        read_event(connection.getresponse())
        connection.close()
    shop.post(f"/orders/{order}/payment", status=202)
    until(lambda: shop.get(f"/orders/{order}")["state"] == "sent")


def test_broken_connections_are_replaced(stage, hub, place):
    psycopg2 = pytest.importorskip("psycopg2")
    # Another name, so that only its connections are broken.
    database = place["SHOP_DATABASE"] + "_broken"
    with contextlib.ExitStack() as stack:
        shop = Shop(stage, hub, {**place, "SHOP_DATABASE": database})
        stack.callback(shop.close)
        # All of its connections to the database are in use.
        for connection in [shop.begin("GET", "/report") for _ in range(30)]:
            assert finish(connection).status == 200
        connection = psycopg2.connect(database)
        stack.enter_context(contextlib.closing(connection))
        with connection.cursor() as cursor:
            cursor.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where application_name = current_setting('application_name')"
                " and pid <> pg_backend_pid()"
            )
            assert cursor.fetchone()[0] >= 10
        failures = 0
        while not all(report_works(shop) for _ in range(10)):
            failures += 1
            assert failures <= 10
        shop.terminate()
        shop.ended(expected="terminating connection" if failures else "")


def report_works(shop):
    """Whether there is a report; if there is none, the client learns of it."""
    with contextlib.closing(shop.begin("GET", "/report")) as connection:
        try:
            status = connection.getresponse().status
        except http.client.RemoteDisconnected:
            return False
        assert status in (200, 500)
        return status == 200


def test_stopping_finishes_what_has_begun(stage, hub, place):
    """Requests are answered, streams end, jobs are left to the next stage's process."""
    psycopg2 = pytest.importorskip("psycopg2")
    packing = {"SHOP_PREFIX": f"{place['SHOP_PREFIX']}:stopping"}
    with contextlib.ExitStack() as stack:
        shop = Shop(stage, hub, place, **packing, SHOP_PACKING_SECONDS="0.3")
        stack.callback(shop.close)
        product = shop.add_product()
        orders = [shop.place_order(product) for _ in range(30)]
        waiting = shop.begin("GET", f"/orders/{shop.place_order(product)}/events")
        stream = stack.enter_context(waiting.getresponse())
        assert read_event(stream) == {"state": "placed"}
        for order in orders:
            shop.post(f"/orders/{order}/payment", status=202)
        connection = psycopg2.connect(place["SHOP_DATABASE"])
        stack.enter_context(contextlib.closing(connection))
        connection.autocommit = True
        report = shop.begin("GET", "/report")
        with connection.cursor() as cursor:
            until(lambda: napping(cursor) or can_read(report))
        shop.terminate()
        assert finish(report).value["orders"] >= 31
        assert states(stream) == []
        waiting.close()
        shop.ended()
        with pytest.raises(ConnectionRefusedError):
            shop.begin("GET", "/health")

        successor = Shop(SUCCESSORS.get(stage, stage), hub, place, **packing)
        stack.callback(successor.close)
        for order in orders:
            path = f"/orders/{order}"
            until(lambda path=path: successor.get(path)["state"] == "sent")
        successor.terminate()
        successor.ended()
