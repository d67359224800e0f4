"""The worker: packs what was paid for, several orders at a time."""

import asyncio

import settings
import shop


async def run():
    """Pack orders until the shop stops; what has begun is finished."""
    packers = asyncio.Semaphore(20)
    packing = set()
    while not shop.stopping:
        job = await shop.store.blpop(shop.PACKING, timeout=1)
        if job is not None:
            await packers.acquire()
            task = asyncio.create_task(pack(int(job[1])))
            packing.add(task)
            task.add_done_callback(packing.discard)
            task.add_done_callback(lambda _: packers.release())
    await asyncio.gather(*packing)


async def pack(number):
    await asyncio.sleep(settings.PACKING_SECONDS)
    await shop.change_state(number, "paid", "sent")
