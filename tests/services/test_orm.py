"""SQLAlchemy's pools and sessions, and Django's ORM, on PostgreSQL."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = [pytest.mark.slow, pytest.mark.service]


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_sqlalchemy(hub, late, driver, postgresql):
    """Sessions of two hundred green threads share the ten connections of a QueuePool."""
    run_client(
        hub,
        f"""
        import sys, {driver}, sqlalchemy
        from sqlalchemy import orm
        """,
        """
        engine = sqlalchemy.create_engine(
            sys.argv[1].replace("postgresql:", f"postgresql+{sys.argv[2]}:"),
            pool_size=8, max_overflow=2, pool_timeout=30,
        )
        Session = orm.scoped_session(orm.sessionmaker(engine))

        class Base(orm.DeclarativeBase):
            pass

        class Row(Base):
            __tablename__ = unique
            number: orm.Mapped[int] = orm.mapped_column(primary_key=True)

        Base.metadata.create_all(engine)

        def sleep(number):
            with engine.connect() as connection:
                statement = sqlalchemy.text("select pg_sleep(0.2), :number")
                return connection.execute(statement, {"number": number}).one()[1]

        assert together(10, sleep) == list(range(10))
        assert engine.pool.checkedout() == 0

        def insert(number):
            session = Session()
            assert session is Session()
            session.add(Row(number=number))
            session.flush()
            session.execute(sqlalchemy.text("select pg_sleep(0.002)"))
            if number % 10 == 9:
                session.rollback()
            else:
                session.commit()
            Session.remove()
            return session

        with ticking() as ticker:
            assert len(set(in_green_threads(200, insert))) == 200
            assert ticker.ticks
        with Session() as session:
            query = sqlalchemy.select(Row.number).order_by(Row.number)
            rows = session.scalars(query).all()
        assert rows == [n for n in range(200) if n % 10 != 9], rows
        assert engine.pool.checkedout() == 0
        Base.metadata.drop_all(engine)
        engine.dispose()
        """,
        postgresql,
        driver,
        late=late,
    )


def test_sqlalchemy_async_beside(hub, postgresql):
    """Its asynchronous engine (asyncpg) and a blocking one in the same loop."""
    run_client(
        hub,
        """
        import sys, psycopg2, asyncpg, sqlalchemy
        from sqlalchemy.ext.asyncio import create_async_engine
        """,
        """
        url = sys.argv[1]
        engine = sqlalchemy.create_engine(url.replace("sql:", "sql+psycopg2:"))
        async_engine = create_async_engine(url.replace("sql:", "sql+asyncpg:"))
        statement = sqlalchemy.text("select pg_sleep(0.2), cast(:number as integer)")

        async def query(number):
            async with async_engine.connect() as connection:
                result = await connection.execute(statement, {"number": number})
                return result.one()[1]

        def either(number):
            if number % 2:
                return greenio.await_(query(number))
            with engine.connect() as connection:
                return connection.execute(statement, {"number": number}).one()[1]

        assert together(10, either) == list(range(10))
        engine.dispose()
        greenio.await_(async_engine.dispose())
        """,
        postgresql,
    )


DJANGO = """
import sys
import django
from django.conf import settings
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": url.hostname,
            "PORT": url.port,
            "USER": url.username,
            "PASSWORD": url.password or "",
            "NAME": url.path.lstrip("/"),
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from django.db import connection, models, transaction
"""


def test_django(hub, late, postgresql):
    """Each green thread has its connection and its transactions."""
    run_client(
        hub,
        DJANGO,
        """
        from greenio import Semaphore

        class Row(models.Model):
            number = models.IntegerField(unique=True)

            class Meta:
                app_label = "shop"
                db_table = unique

        with connection.schema_editor() as editor:
            editor.create_model(Row)

        def sleep(number):
            try:
                with connection.cursor() as cursor:
                    cursor.execute("select pg_sleep(0.2), %s", [number])
                    return cursor.fetchone()[1]
            finally:
                connection.close()

        assert together(20, sleep) == list(range(20))
        allowed = Semaphore(20)

        class Undo(Exception):
            pass

        def insert(number):
            with allowed:
                try:
                    with transaction.atomic():
                        Row.objects.create(number=number)
                        assert connection.in_atomic_block
                        if number % 10 == 9:
                            raise Undo
                except Undo:
                    pass
                finally:
                    connection.close()

        with ticking() as ticker:
            in_green_threads(200, insert)
            assert ticker.ticks
        rows = Row.objects.order_by("number").values_list("number", flat=True)
        assert list(rows) == [n for n in range(200) if n % 10 != 9], rows
        with connection.schema_editor() as editor:
            editor.delete_model(Row)
        connection.close()
        """,
        postgresql,
        late=late,
    )


def test_django_in_coroutines(hub, postgresql):
    """It goes on refusing to block in a coroutine, but not in a portal."""
    run_client(
        hub,
        DJANGO,
        """
        from django.core.exceptions import SynchronousOnlyOperation

        def backend():
            with connection.cursor() as cursor:
                cursor.execute("select pg_sleep(0.1), pg_backend_pid()")
                return cursor.fetchone()[1]

        def work():
            try:
                first = backend()
                assert backend() == first
                return first
            finally:
                connection.close()

        @greenio.portal
        async def in_a_portal():
            return work()

        async def main():
            try:
                backend()
            except SynchronousOnlyOperation:
                pass
            else:
                raise AssertionError("it blocked the loop")
            portals = [in_a_portal() for _ in range(5)]
            green = [greenio.run_green(work) for _ in range(5)]
            assert len(set(await asyncio.gather(*portals, *green))) == 10

        work()
        greenio.await_(main())
        """,
        postgresql,
    )
