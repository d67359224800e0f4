"""The worker: packs what was paid for, several orders at a time."""

import settings
import shop

import greenio


def run():
    """Pack orders until the shop stops; what has begun is finished."""
    packers = greenio.GreenPool(20)
    while not shop.stopping:
        job = shop.green_store.blpop(shop.PACKING, timeout=1)
        if job is not None:
            packers.spawn_n(pack, int(job[1]))
    packers.waitall()


def pack(number):
    greenio.sleep(settings.PACKING_SECONDS)
    shop.change_state(number, "paid", "sent")
