"""pika and kombu on RabbitMQ."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = [pytest.mark.slow, pytest.mark.service]


PIKA = """
import pika, sys

def connect():
    return pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
"""


def test_pika_waits(hub, late, rabbitmq):
    """Two hundred messages for ten consumers, each with a connection of its own."""
    run_client(
        hub,
        PIKA,
        """
        from greenio import Event
        consuming = [Event() for _ in range(10)]
        received = []

        def consume(number):
            connection = connect()
            channel = connection.channel()
            channel.basic_qos(prefetch_count=1)

            def on_message(channel, method, properties, body):
                received.append(int(body))
                channel.basic_ack(method.delivery_tag)
                if len(received) == 200:
                    for _ in consuming:
                        channel.basic_publish("", unique, b"-1")
                elif received[-1] == -1:
                    channel.stop_consuming()

            channel.basic_consume(unique, on_message)
            consuming[number].send()
            channel.start_consuming()
            connection.close()

        with_queue = connect()
        channel = with_queue.channel()
        channel.queue_declare(unique, auto_delete=True)

        def publish():
            for event in consuming:
                event.wait()
            for number in range(200):
                channel.basic_publish("", unique, str(number).encode())

        gated(10, consume, publish)
        assert sorted(n for n in received if n >= 0) == list(range(200)), received
        with_queue.close()
        """,
        rabbitmq,
        late=late,
    )


def test_pika_calls_from_threads(hub, rabbitmq):
    """A connection that one thread serves, and others ask by its callbacks."""
    run_client(
        hub,
        PIKA,
        """
        import threading
        connection = connect()
        channel = connection.channel()
        channel.queue_declare(unique, exclusive=True)
        server = threading.Thread(target=channel.start_consuming)
        received = []
        done = threading.Event()

        def on_message(channel, method, properties, body):
            received.append(int(body))
            if len(received) == 50:
                channel.stop_consuming()
                done.set()

        channel.basic_consume(unique, on_message, auto_ack=True)
        server.start()

        def ask(number):
            body = str(number).encode()
            connection.add_callback_threadsafe(
                lambda: channel.basic_publish("", unique, body)
            )

        with ticking() as ticker:
            in_green_threads(50, ask)
            assert done.wait(30)
            server.join(30)
            ticker.wait_for(1)
        assert sorted(received) == list(range(50)), received
        connection.close()
        """,
        rabbitmq,
    )


def test_kombu_waits(hub, late, rabbitmq):
    """`drain_events` in ten green threads, publishers from a pool of connections."""
    run_client(
        hub,
        "import kombu, kombu.pools, sys",
        """
        import socket
        from greenio import Event
        queue = kombu.Queue(unique, durable=False, auto_delete=True)
        connection = kombu.Connection(sys.argv[1], heartbeat=30)
        queue(connection.default_channel).declare()
        consuming = [Event() for _ in range(10)]
        received = []

        def consume(number):
            with kombu.Connection(sys.argv[1]) as connection:
                def on_message(body, message):
                    received.append(body)
                    message.ack()

                with connection.Consumer(queue, callbacks=[on_message], prefetch_count=1):
                    consuming[number].send()
                    while len(received) < 100:
                        try:
                            connection.drain_events(timeout=1)
                        except socket.timeout:
                            pass

        producers = kombu.pools.Producers(limit=5)

        def publish(number):
            with producers[connection].acquire(block=True, timeout=30) as producer:
                producer.publish(number, routing_key=unique, retry=True)

        def release():
            for event in consuming:
                event.wait()
            in_green_threads(100, publish)

        gated(10, consume, release)
        assert sorted(received) == list(range(100)), received
        kombu.pools.reset()
        connection.release()
        """,
        rabbitmq,
        late=late,
    )


def test_kombu_heartbeats(hub, rabbitmq):
    """A green thread sends heartbeats while another sleeps."""
    run_client(
        hub,
        "import kombu, sys",
        """
        import socket, time
        with kombu.Connection(sys.argv[1], heartbeat=1) as connection:
            connection.connect()
            beating = True

            def beat():
                while beating:
                    connection.heartbeat_check(rate=4)
                    try:
                        connection.drain_events(timeout=0.25)
                    except socket.timeout:
                        pass

            beats = greenio.spawn(beat)
            # Without heartbeats, the server closes after two of them.
            time.sleep(4)
            beating = False
            beats.wait()
            queue = connection.SimpleQueue(
                unique, queue_opts={"exclusive": True}
            )
            with queue:
                queue.put("still there")
                assert queue.get(timeout=30).payload == "still there"
        """,
        rabbitmq,
    )
