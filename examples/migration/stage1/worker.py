"""The worker: packs what was paid for, several orders at a time."""

import eventlet
import settings
import shop


def run():
    """Pack orders until the shop stops; what has begun is finished."""
    packers = eventlet.GreenPool(20)
    while not shop.stopping:
        job = shop.store.blpop(shop.PACKING, timeout=1)
        if job is not None:
            packers.spawn_n(pack, int(job[1]))
    packers.waitall()


def pack(number):
    eventlet.sleep(settings.PACKING_SECONDS)
    shop.change_state(number, "paid", "sent")
