"""oslo.db's enginefacade with many green threads: ``database.py URL``."""

import eventlet

eventlet.monkey_patch()

import sys
import uuid

import sqlalchemy as sa
from oslo_config import cfg
from oslo_db import api, exception, options
from oslo_db.sqlalchemy import enginefacade, models
from sqlalchemy import orm

url = sys.argv[1]
Base = orm.declarative_base(cls=models.ModelBase)
TABLE = f"oslo_{uuid.uuid4().hex[:12]}"


class Account(models.TimestampMixin, Base):
    __tablename__ = TABLE
    __table_args__ = {"mysql_engine": "InnoDB"}
    id = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
    name = sa.Column(sa.String(40), unique=True)
    balance = sa.Column(sa.Integer, default=0)


manager = enginefacade.transaction_context()
manager.configure(
    connection=url, max_pool_size=8, max_overflow=4, pool_timeout=60, max_retries=3
)


@enginefacade.transaction_context_provider
class Context:
    pass


@manager.writer
def add(context, number):
    context.session.add(Account(id=number, name=f"name {number}", balance=100))


@manager.reader
def total(context):
    return context.session.scalar(sa.select(sa.func.sum(Account.balance)))


@api.wrap_db_retry(
    max_retries=50, retry_interval=0.01, retry_on_deadlock=True, jitter=True
)
@manager.writer
def move(context, source, target):
    accounts = {
        each.id: each
        for each in context.session.scalars(
            sa.select(Account).where(Account.id.in_([source, target])).with_for_update()
        )
    }
    accounts[source].balance -= 1
    context.session.flush()
    eventlet.sleep(0)
    accounts[target].balance += 1


waiting = most = 0


@manager.reader
def wait_in_database(context, seconds):
    global waiting, most
    sleep = "pg_sleep" if url.startswith("postgresql") else "sleep"
    context.session.connection()
    waiting += 1
    most = max(most, waiting)
    try:
        context.session.execute(sa.text(f"select {sleep}(:n)"), {"n": seconds})
    finally:
        waiting -= 1


def ticking():
    while True:
        ticks.append(1)
        eventlet.sleep(0.01)


ticks = []
cfg.CONF([], project="example")
options.set_defaults(cfg.CONF, connection=url)
engine = manager.writer.get_engine()
Base.metadata.create_all(engine)
try:
    pool = eventlet.GreenPool(50)
    list(pool.imap(lambda n: add(Context(), n), range(20)))
    assert total(Context()) == 2000
    moves = [(n % 20, (n * 7 + 3) % 20) for n in range(150)]
    for source, target in moves:
        if source != target:
            pool.spawn(move, Context(), source, target)
    pool.waitall()
    assert total(Context()) == 2000
    try:
        add(Context(), 3)
    except exception.DBDuplicateEntry as error:
        print("duplicate", error.columns)
    else:
        raise AssertionError("no error")
    ticker = eventlet.spawn(ticking)
    # As many as there are connections; the others wait for one.
    waits = [eventlet.spawn(wait_in_database, Context(), 0.3) for _ in range(24)]
    for each in waits:
        each.wait()
    assert 6 <= most <= 12, most
    assert len(ticks) > 5
    ticker.kill()
    # Who is killed in a transaction gives its connection back.
    killed = [eventlet.spawn(wait_in_database, Context(), 30) for _ in range(12)]
    eventlet.sleep(0.2)
    for each in killed:
        each.kill()
    assert total(Context()) == 2000
finally:
    Base.metadata.drop_all(engine)
    engine.dispose()
print("done")
