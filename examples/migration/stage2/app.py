"""The shop's HTTP server on aiohttp; the shop itself is as it was.

    python app.py

Each handler is a coroutine. What it calls blocks as before, in a green thread of the
same loop.
"""

import greenio

# For what says `import eventlet`, and for what it calls.
greenio.install_as_eventlet()
greenio.monkey_patch()

import asyncio
import contextlib
import json
import socket

import settings
import shop
import worker
from aiohttp import web

from greenio import run_green

routes = web.RouteTableDef()

# -- what each request does -------------------------------------------------------------


@routes.get("/health")
async def get_health(request):
    return web.json_response({"stage": 2})


@routes.post("/products")
async def add_product(request):
    product = await run_green(shop.add_product, **await request.json())
    return web.json_response(product, status=201)


@routes.get(r"/products/{number:\d+}")
async def get_product(request):
    product, is_copy = await run_green(shop.get_product, number_in(request))
    return web.json_response(product, headers={"X-Cache": "hit" if is_copy else "miss"})


@routes.post("/orders")
async def place_order(request):
    order = await run_green(shop.place_order, **await request.json())
    return web.json_response(order, status=201)


@routes.get(r"/orders/{number:\d+}")
async def get_order(request):
    return web.json_response(await run_green(shop.get_order, number_in(request)))


@routes.post(r"/orders/{number:\d+}/payment")
async def pay_order(request):
    order = await run_green(shop.pay_order, number_in(request))
    return web.json_response(order, status=202)


@routes.get(r"/orders/{number:\d+}/events")
@greenio.portal
async def follow_order(request):
    """Send a line of JSON for each event; an empty line means that there was none.

    In a portal, a coroutine makes blocking calls itself: they suspend its task.
    """
    shop.get_order(number_in(request))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client has gone
        for event in shop.follow_order(number_in(request)):
            line = "\n" if event is None else json.dumps(event) + "\n"
            await response.write(line.encode())
    return response


@routes.get("/report")
async def get_report(request):
    return web.json_response(await run_green(shop.get_report))


def number_in(request):
    return int(request.match_info["number"])


# -- HTTP -------------------------------------------------------------------------------


@web.middleware
async def answer_errors(request, handler):
    try:
        return await handler(request)
    except (ValueError, TypeError) as error:
        return web.json_response({"error": str(error)}, status=400)
    except shop.NotFoundError as error:
        return web.json_response({"error": str(error)}, status=404)
    except shop.RefusedError as error:
        return web.json_response({"error": str(error)}, status=409)
    except web.HTTPException as error:
        return web.json_response({"error": error.reason}, status=error.status)


# -- starting and stopping --------------------------------------------------------------


async def run_shop(app):
    await run_green(shop.start)
    jobs = greenio.spawn(worker.run)
    yield
    await jobs
    await run_green(shop.close)


async def stop_shop(app):
    shop.stop()


def new_loop():
    if settings.LOOP == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def main():
    app = web.Application(middlewares=[answer_errors])
    app.add_routes(routes)
    app.cleanup_ctx.append(run_shop)
    app.on_shutdown.append(stop_shop)
    listener = socket.create_server(("127.0.0.1", settings.PORT), backlog=1000)
    print(f"shop on port {listener.getsockname()[1]}", flush=True)
    # Ends by SIGTERM, when what has begun is finished.
    web.run_app(app, sock=listener, loop=new_loop(), print=None)


if __name__ == "__main__":
    main()
