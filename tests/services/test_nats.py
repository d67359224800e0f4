"""nats-py, which is asynchronous, beside green threads."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = [pytest.mark.slow, pytest.mark.service]


def test_nats_beside(hub, late, nats):
    """Green threads make requests, which a coroutine answers when it has them all."""
    run_client(
        hub,
        "import nats, sys",
        """
        async def connect():
            return await nats.connect(sys.argv[1])

        client, server = greenio.await_(connect()), greenio.await_(connect())
        waiting = []

        async def serve(message):
            waiting.append(message)

        greenio.await_(server.subscribe(unique, cb=serve))
        greenio.await_(server.flush())

        def request(number):
            body = str(number).encode()
            reply = greenio.await_(client.request(unique, body, timeout=30))
            return int(reply.data)

        async def answer():
            while len(waiting) < 200:
                await asyncio.sleep(0.005)
            for message in waiting:
                await message.respond(str(2 * int(message.data)).encode())

        results = gated(200, request, lambda: greenio.await_(answer()))
        assert results == [2 * number for number in range(200)]
        greenio.await_(client.close())
        greenio.await_(server.close())
        """,
        nats,
        late=late,
    )


def test_nats_calls_green_code(hub, nats):
    """A subscription's callback runs blocking-style code in green threads."""
    run_client(
        hub,
        "import nats, sys",
        """
        import queue, time
        items = queue.Queue()

        def blocking_style(data):
            time.sleep(0.05)
            items.put(int(data))

        async def on_message(message):
            greenio.spawn(blocking_style, message.data)

        async def main():
            client = await nats.connect(sys.argv[1])
            await client.subscribe(unique, cb=on_message)
            for number in range(20):
                await client.publish(unique, str(number).encode())
            await client.flush()
            return client

        client = greenio.await_(main())
        assert sorted(items.get(timeout=30) for _ in range(20)) == list(range(20))
        greenio.await_(client.drain())
        """,
        nats,
    )
