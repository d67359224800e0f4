"""The echo server inside an asyncio application.

    python examples/tutorial/service.py [echo port [status port]]

One loop, one OS thread: the green server, and beside it a coroutine that answers on a
port of its own how many clients there are.
"""

import asyncio
import sys

import greenio

connected = set()
seen = greenio.Queue()


# -- green, as it was -------------------------------------------------------------------


def handle(connection, address):
    connected.add(address)
    seen.put(address)
    try:
        with connection:
            while data := connection.recv(4096):
                connection.sendall(greenio.await_(translate(data)))
    finally:
        connected.discard(address)


def describe(addresses):
    """Blocking style: it might ask a database who they are."""
    greenio.sleep(0.01)
    return f"{len(addresses)} clients\n"


# -- async, new -------------------------------------------------------------------------


async def translate(data):
    """What a library for asyncio might do."""
    await asyncio.sleep(0)
    return data.upper()


async def log_clients():
    while True:
        host, port = await seen.get_async()
        print(f"{host}:{port} is here", flush=True)


async def answer_status(reader, writer):
    writer.write((await greenio.run_green(describe, list(connected))).encode())
    await writer.drain()
    writer.close()


async def main(echo_port="6000", status_port="6001"):
    listener = greenio.listen(("127.0.0.1", int(echo_port)))
    status = await asyncio.start_server(answer_status, "127.0.0.1", int(status_port))
    ports = listener.getsockname()[1], status.sockets[0].getsockname()[1]
    print("echo on port {}, status on port {}".format(*ports), flush=True)
    with listener:
        async with status, greenio.GreenGroup() as group:
            group.spawn(greenio.serve, listener, handle)
            group.spawn(log_clients)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
