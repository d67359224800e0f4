"""redis-py on Redis, and pymemcache on memcached."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = [pytest.mark.slow, pytest.mark.service]


def test_redis_waits(hub, late, redis):
    """BLPOP, in green threads that share a client."""
    run_client(
        hub,
        "import redis, sys",
        """
        client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
        release = lambda: client.rpush(unique, *range(20))
        wait = lambda number: client.blpop(unique, timeout=30)
        popped = gated(20, wait, release)
        assert sorted(int(item) for _, item in popped) == list(range(20)), popped
        client.close()
        """,
        redis,
        late=late,
    )


def test_redis_by_two_hundred_through_a_pool(hub, redis):
    """Commands, pipelines and transactions on ten connections."""
    run_client(
        hub,
        "import redis, sys",
        """
        pool = redis.BlockingConnectionPool.from_url(
            sys.argv[1], max_connections=10, timeout=30
        )
        client = redis.Redis(connection_pool=pool)
        counter, careful = f"{unique}:counter", f"{unique}:careful"

        def careful_increment(pipeline):
            value = int(pipeline.get(careful) or 0)
            pipeline.multi()
            pipeline.set(careful, value + 1)

        def work(number):
            client.set(f"{unique}:{number}", number, ex=60)
            with client.pipeline() as pipeline:
                pipeline.get(f"{unique}:{number}").incr(counter)
                value, _ = pipeline.execute()
            if number % 20 == 0:
                client.transaction(careful_increment, careful)
            return int(value)

        with ticking() as ticker:
            assert in_green_threads(200, work) == list(range(200))
            assert ticker.ticks
        assert int(client.get(counter)) == 200
        assert int(client.get(careful)) == 10
        client.delete(counter, careful)
        client.close()
        """,
        redis,
    )


def test_redis_subscribers(hub, redis):
    """Each listens in a green thread; redis-py starts one of them as a thread."""
    run_client(
        hub,
        "import redis, sys",
        """
        import queue
        client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
        subscribed, heard = queue.Queue(), queue.Queue()

        def listen(number):
            with client.pubsub() as pubsub:
                pubsub.subscribe(unique)
                for message in pubsub.listen():
                    if message["type"] == "subscribe":
                        subscribed.put(number)
                    else:
                        return message["data"]

        def publish():
            for _ in range(5):
                subscribed.get(timeout=30)
            assert client.publish(unique, "hello") == 6

        pubsub = client.pubsub()
        pubsub.subscribe(**{unique: heard.put})
        thread = pubsub.run_in_thread(sleep_time=30, daemon=True)
        assert gated(5, listen, publish) == ["hello"] * 5
        assert heard.get(timeout=30)["data"] == "hello"
        thread.stop()
        client.publish(unique, "the end")
        thread.join(30)
        assert not thread.is_alive()
        client.close()
        """,
        redis,
    )


def test_redis_async_beside(hub, redis):
    """Its asynchronous client wakes green threads that wait with the other one."""
    run_client(
        hub,
        "import redis, redis.asyncio, sys",
        """
        client = redis.Redis.from_url(sys.argv[1], decode_responses=True)

        async def push():
            async with redis.asyncio.Redis.from_url(sys.argv[1]) as other:
                for number in range(10):
                    await other.rpush(unique, number)

        wait = lambda number: client.blpop(unique, timeout=30)
        popped = gated(10, wait, lambda: greenio.await_(push()))
        assert sorted(int(item) for _, item in popped) == list(range(10)), popped
        client.close()
        """,
        redis,
    )


def test_pymemcache(hub, memcached):
    run_client(
        hub,
        "import pymemcache, sys",
        """
        from urllib.parse import urlsplit
        url = urlsplit(sys.argv[1])
        client = pymemcache.PooledClient((url.hostname, url.port), max_pool_size=10)

        def work(number):
            client.set(f"{unique}-{number}", str(number), expire=60)
            return int(client.get(f"{unique}-{number}"))

        with ticking() as ticker:
            assert in_green_threads(200, work) == list(range(200))
        client.close()
        """,
        memcached,
    )
