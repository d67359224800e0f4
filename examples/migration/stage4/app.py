"""The shop's HTTP server on aiohttp; all of the shop is async.

    python app.py

Any asyncio program looks like this: greenio is no longer needed.
"""

import asyncio
import contextlib
import json
import socket

import settings
import shop
import worker
from aiohttp import web

routes = web.RouteTableDef()

# -- what each request does -------------------------------------------------------------


@routes.get("/health")
async def get_health(request):
    return web.json_response({"stage": 4})


@routes.post("/products")
async def add_product(request):
    product = await shop.add_product(**await request.json())
    return web.json_response(product, status=201)


@routes.get(r"/products/{number:\d+}")
async def get_product(request):
    product, is_copy = await shop.get_product(number_in(request))
    return web.json_response(product, headers={"X-Cache": "hit" if is_copy else "miss"})


@routes.post("/orders")
async def place_order(request):
    order = await shop.place_order(**await request.json())
    return web.json_response(order, status=201)


@routes.get(r"/orders/{number:\d+}")
async def get_order(request):
    return web.json_response(await shop.get_order(number_in(request)))


@routes.post(r"/orders/{number:\d+}/payment")
async def pay_order(request):
    order = await shop.pay_order(number_in(request))
    return web.json_response(order, status=202)


@routes.get(r"/orders/{number:\d+}/events")
async def follow_order(request):
    """Send a line of JSON for each event; an empty line means that there was none."""
    await shop.get_order(number_in(request))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client has gone
        async for event in shop.follow_order(number_in(request)):
            line = "\n" if event is None else json.dumps(event) + "\n"
            await response.write(line.encode())
    return response


@routes.get("/report")
async def get_report(request):
    return web.json_response(await shop.get_report())


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
    await shop.start()
    jobs = asyncio.create_task(worker.run())
    yield
    await jobs
    await shop.close()


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
