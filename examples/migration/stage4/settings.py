"""Where things are, from the environment."""

import os

DATABASE = os.environ.get("SHOP_DATABASE", "postgresql://postgres@127.0.0.1:5432/test")
REDIS = os.environ.get("SHOP_REDIS", "redis://127.0.0.1:6379/0")
# Every key in Redis begins with it.
PREFIX = os.environ.get("SHOP_PREFIX", "shop")
PORT = int(os.environ.get("SHOP_PORT", "8080"))
# "asyncio" or "uvloop", for the stages that start the loop themselves.
LOOP = os.environ.get("SHOP_LOOP", "asyncio")
# What stands for the work of packing an order.
PACKING_SECONDS = float(os.environ.get("SHOP_PACKING_SECONDS", "0.05"))
