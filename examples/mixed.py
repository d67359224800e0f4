"""Coroutines and green threads in one event loop, with a queue between them.

    python examples/mixed.py [seconds]

Two producers, one blocking and one async, put readings into one queue; two consumers,
one of each kind, take them out. A green thread awaits a coroutine, and a coroutine
calls a blocking function. All of it runs in one OS thread, on uvloop if it is there.
"""

import asyncio
import sys

import greenio

# -- blocking style ---------------------------------------------------------------------


def thermometer(readings, count):
    """A green thread that produces."""
    for number in range(count):
        greenio.sleep(0.01)
        readings.put(("thermometer", number))


def green_consumer(readings, seen):
    """A green thread that consumes, and asks a coroutine about each reading."""
    while (reading := readings.get()) is not None:
        source, number = reading
        checked = greenio.await_(check(number))
        seen.append(("green thread", source, checked))


def summary(seen):
    """A blocking function that a coroutine calls."""
    greenio.sleep(0.01)
    lines = []
    for consumer in ("green thread", "coroutine"):
        taken = [source for who, source, _ in seen if who == consumer]
        lines.append(
            f"the {consumer} took {len(taken)} readings: "
            f"{taken.count('thermometer')} from the thermometer (green), "
            f"{taken.count('barometer')} from the barometer (async)"
        )
    return "\n".join(lines)


# -- async style ------------------------------------------------------------------------


async def barometer(readings, count):
    """A coroutine that produces."""
    for number in range(count):
        await asyncio.sleep(0.01)
        await readings.put_async(("barometer", number))


async def check(number):
    """A coroutine that a green thread waits for."""
    await asyncio.sleep(0.001)
    return number


async def async_consumer(readings, seen):
    """A coroutine that consumes."""
    while (reading := await readings.get_async()) is not None:
        source, number = reading
        seen.append(("coroutine", source, await check(number)))


async def produce(readings, count):
    """Wait for both producers, then tell both consumers that this was all."""
    await asyncio.gather(
        greenio.spawn(thermometer, readings, count), barometer(readings, count)
    )
    for _ in range(2):
        await readings.put_async(None)


async def main(count):
    loop = type(asyncio.get_running_loop())
    print(f"one loop for all: {loop.__module__}.{loop.__qualname__}", flush=True)
    readings = greenio.Queue()
    seen = []
    await asyncio.gather(
        produce(readings, count),
        greenio.spawn(green_consumer, readings, seen),
        async_consumer(readings, seen),
    )
    print(await greenio.run_green(summary, seen), flush=True)
    print(f"{len(seen)} readings in all", flush=True)


def run(coroutine):
    try:
        import uvloop
    except ImportError:
        print("uvloop is not installed; running on the standard loop", flush=True)
        asyncio.run(coroutine)
    else:
        uvloop.run(coroutine)


if __name__ == "__main__":
    try:
        run(main(int(float(sys.argv[1]) * 100) if sys.argv[1:] else 50))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
