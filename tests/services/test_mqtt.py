"""paho-mqtt on an MQTT broker."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = [pytest.mark.slow, pytest.mark.service]


def test_paho_overlaps(hub, late, mqtt):
    """Clients with their own network threads, which are green, wait for a message."""
    run_client(
        hub,
        "import paho.mqtt.client as mqtt, sys",
        """
        import queue
        from urllib.parse import urlsplit
        url = urlsplit(sys.argv[1])
        subscribed = queue.Queue()

        def start(number):
            client = mqtt.Client(
                mqtt.CallbackAPIVersion.VERSION2, f"{unique}-{number}"
            )
            received = queue.Queue()
            client.on_connect = lambda client, *_: client.subscribe(unique, qos=1)
            client.on_subscribe = lambda *_: subscribed.put(number)
            client.on_message = lambda _, __, message: received.put(message.payload)
            client.connect(url.hostname, url.port)
            client.loop_start()
            return client, received

        def listen(number):
            client, received = start(number)
            payload = received.get(timeout=30)
            client.disconnect()
            client.loop_stop()
            return payload

        publisher, heard = start("publisher")
        assert subscribed.get(timeout=30) == "publisher"

        def publish():
            for _ in range(10):
                subscribed.get(timeout=30)
            info = publisher.publish(unique, b"hello", qos=1)
            info.wait_for_publish(timeout=30)
            assert info.is_published()

        assert gated(10, listen, publish) == [b"hello"] * 10
        assert heard.get(timeout=30) == b"hello"
        publisher.disconnect()
        publisher.loop_stop()
        """,
        mqtt,
        late=late,
    )


def test_paho_by_two_hundred(hub, mqtt):
    """Two hundred green threads publish with one client and wait for the broker."""
    run_client(
        hub,
        "import paho.mqtt.client as mqtt, sys",
        """
        import threading
        from urllib.parse import urlsplit
        url = urlsplit(sys.argv[1])
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        connected = threading.Event()
        client.on_connect = lambda *_: connected.set()
        client.connect_async(url.hostname, url.port)
        client.loop_start()
        assert connected.wait(30)

        def publish(number):
            info = client.publish(f"{unique}/{number}", b"x" * 1000, qos=2)
            info.wait_for_publish(timeout=30)
            return info.is_published()

        with ticking() as ticker:
            assert in_green_threads(200, publish) == [True] * 200
            ticker.wait_for(1)
        client.disconnect()
        client.loop_stop()
        """,
        mqtt,
    )
