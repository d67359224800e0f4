"""What the shop does: products with a stock, orders, and what happens to an order.

PostgreSQL has the truth. Redis has copies of products, the queue of orders to be packed
and, for each order, the stream of its events.
"""

import contextlib
import json

import psycopg2
import redis
import settings
from eventlet import pools

TABLES = """
create table if not exists products (
    id serial primary key, name text not null, price integer not null,
    stock integer not null
);
create table if not exists orders (
    id serial primary key, product integer not null references products,
    quantity integer not null check (quantity > 0), total integer not null,
    state text not null
);
"""

PACKING = f"{settings.PREFIX}:packing"


class Connections(pools.Pool):
    def create(self):
        return psycopg2.connect(settings.DATABASE)

    def get(self):
        """Return one that is free; a broken one is replaced."""
        connection = super().get()
        if not connection.closed:
            return connection
        try:
            return self.create()
        except BaseException:
            self.put(connection)
            raise


database = Connections(max_size=10)
# Each client that follows an order has a connection to Redis for itself.
store = redis.Redis.from_url(
    settings.REDIS, decode_responses=True, max_connections=2000
)
stopping = False


class NotFoundError(Exception):
    """There is no such product or order."""


class RefusedError(Exception):
    """It cannot be done as things are."""


# -- starting and stopping --------------------------------------------------------------


def start():
    with transaction() as cursor:
        cursor.execute(TABLES)


def stop():
    """Let whoever follows an order or waits for jobs come to an end."""
    global stopping
    stopping = True


def close():
    for connection in database.free_items:
        connection.close()
    store.close()


@contextlib.contextmanager
def transaction():
    try:
        with database.item() as connection, connection, connection.cursor() as cursor:
            yield cursor
    except psycopg2.IntegrityError as error:
        raise RefusedError(error.diag.message_primary) from None


# -- products ---------------------------------------------------------------------------


def product_key(number):
    return f"{settings.PREFIX}:product:{number}"


def add_product(name, price, stock):
    with transaction() as cursor:
        cursor.execute(
            "insert into products (name, price, stock) values (%s, %s, %s) returning id",
            (name, price, stock),
        )
        (number,) = cursor.fetchone()
    return {"id": number, "name": name, "price": price, "stock": stock}


def get_product(number):
    """Return a product, and whether that is a copy."""
    copy = store.get(product_key(number))
    if copy is not None:
        return json.loads(copy), True
    with transaction() as cursor:
        cursor.execute(
            "select id, name, price, stock from products where id = %s", (number,)
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFoundError(f"product {number}")
    product = dict(zip(("id", "name", "price", "stock"), row, strict=True))
    store.set(product_key(number), json.dumps(product), ex=60)
    return product, False


# -- orders -----------------------------------------------------------------------------


def place_order(product, quantity):
    with transaction() as cursor:
        cursor.execute(
            "update products set stock = stock - %s where id = %s and stock >= %s"
            " returning price",
            (quantity, product, quantity),
        )
        row = cursor.fetchone()
        if row is None:
            raise RefusedError(f"no {quantity} of product {product}")
        total = row[0] * quantity
        cursor.execute(
            "insert into orders (product, quantity, total, state)"
            " values (%s, %s, %s, 'placed') returning id",
            (product, quantity, total),
        )
        (number,) = cursor.fetchone()
    store.delete(product_key(product))
    tell(number, "placed")
    return {
        "id": number,
        "product": product,
        "quantity": quantity,
        "total": total,
        "state": "placed",
    }


def get_order(number):
    with transaction() as cursor:
        cursor.execute(
            "select id, product, quantity, total, state from orders where id = %s",
            (number,),
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFoundError(f"order {number}")
    return dict(zip(("id", "product", "quantity", "total", "state"), row, strict=True))


def pay_order(number):
    """Take the money, and have the order packed."""
    change_state(number, "placed", "paid")
    store.rpush(PACKING, number)
    return get_order(number)


def change_state(number, before, after):
    with transaction() as cursor:
        cursor.execute(
            "update orders set state = %s where id = %s and state = %s",
            (after, number, before),
        )
        changed = cursor.rowcount
    if not changed:
        raise RefusedError(f"order {number} is {get_order(number)['state']}")
    tell(number, after)


def get_report():
    """Return what was sold, and when the database was busy with finding that out."""
    with transaction() as cursor:
        # The nap stands for tables that are larger than these.
        cursor.execute(
            "select clock_timestamp(), pg_sleep(0.1), count(*), coalesce(sum(total), 0)"
            " from orders"
        )
        begin, _, orders, total = cursor.fetchone()
        cursor.execute("select clock_timestamp()")
        (end,) = cursor.fetchone()
    return {
        "orders": orders,
        "total": total,
        "busy": [begin.timestamp(), end.timestamp()],
    }


# -- events of an order -----------------------------------------------------------------


def events_key(number):
    return f"{settings.PREFIX}:events:{number}"


def tell(number, state):
    store.xadd(events_key(number), {"state": state}, maxlen=100)


def follow_order(number):
    """Yield every event of an order until it is sent; None when nothing happens."""
    last = "0"
    while not stopping:
        answer = store.xread({events_key(number): last}, block=1000)
        events = [event for _, entries in answer for event in entries]
        if not events:
            yield None
        for last, event in events:  # noqa: B007 - the next read goes on after it
            yield event
            if event["state"] == "sent":
                return
