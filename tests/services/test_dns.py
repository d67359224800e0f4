"""dnspython on a small name server in the same loop."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = pytest.mark.slow

SERVER = """
import dns.flags, dns.message, dns.rrset

async def serve(size, port=0):
    waiting = []

    class Server(asyncio.DatagramProtocol):
        # It answers when it has as many questions as it waits for.
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            waiting.append((dns.message.from_wire(data), address))
            if len(waiting) >= size:
                for query, address in waiting:
                    self.transport.sendto(answer(query).to_wire(), address)
                waiting.clear()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        Server, local_addr=("127.0.0.1", port)
    )
    return transport, transport.get_extra_info("sockname")[1]

def answer(query):
    question = query.question[0]
    number = str(question.name).partition(".")[0]
    response = dns.message.make_response(query)
    if number == "long":
        response.flags |= dns.flags.TC
    else:
        address = f"10.0.0.{number}"
        response.answer.append(
            dns.rrset.from_text(question.name, 60, "IN", "A", address)
        )
    return response

def resolver_at(port, kind):
    resolver = kind.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = port
    resolver.timeout = resolver.lifetime = 30
    return resolver
"""


@pytest.mark.parametrize("size", [2, 200])
def test_dnspython(hub, late, size):
    run_client(
        hub,
        "import dns.resolver",
        SERVER
        + f"""
size = {size}
server, port = greenio.await_(serve(size))
resolver = resolver_at(port, dns.resolver)

def resolve(number):
    return resolver.resolve(f"{{number}}.example.", "A")[0].address

with ticking() as ticker:
    assert in_green_threads(size, resolve) == [f"10.0.0.{{n}}" for n in range(size)]
    ticker.wait_for(1)
server.close()
""",
        late=late,
    )


def test_dnspython_async_beside(hub):
    run_client(
        hub,
        "import dns.asyncresolver, dns.resolver",
        SERVER
        + """
server, port = greenio.await_(serve(50))
resolver = resolver_at(port, dns.resolver)
async_resolver = resolver_at(port, dns.asyncresolver)

def resolve(number):
    name = f"{number}.example."
    if number % 2:
        return resolver.resolve(name, "A")[0].address
    return greenio.await_(async_resolver.resolve(name, "A"))[0].address

assert in_green_threads(50, resolve) == [f"10.0.0.{n}" for n in range(50)]
server.close()
""",
    )


def test_dnspython_times_out(hub):
    """A name server that says nothing, and one that sends the client to TCP."""
    run_client(
        hub,
        "import dns.exception, dns.query, dns.resolver",
        SERVER
        + """
import socket, threading

silent, port = greenio.await_(serve(1000))
resolver = resolver_at(port, dns.resolver)

def give_up(number):
    try:
        return resolver.resolve(f"{number}.example.", "A", lifetime=0.2)
    except dns.exception.Timeout:
        return "timeout"

assert together(10, give_up) == ["timeout"] * 10
silent.close()

listener = socket.create_server(("127.0.0.1", 0))
udp, port = greenio.await_(serve(1, listener.getsockname()[1]))

def serve_tcp():
    connection, _ = listener.accept()
    query, _ = dns.query.receive_tcp(connection)
    response = dns.message.make_response(query)
    text = [f"10.1.{n}.1" for n in range(200)]
    rrset = dns.rrset.from_text_list(query.question[0].name, 60, "IN", "A", text)
    response.answer.append(rrset)
    dns.query.send_tcp(connection, response)
    connection.close()

thread = threading.Thread(target=serve_tcp)
thread.start()
assert len(resolver_at(port, dns.resolver).resolve("long.example.", "A")) == 200
thread.join(30)
listener.close()
udp.close()
""",
    )
