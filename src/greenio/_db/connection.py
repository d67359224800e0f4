"""A connection as a pool lends it: a wrapper that goes back instead of closing."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._greenthread.spawning import spawn_n
from .._kernel.current import cannot_wait, hub_to_park_in
from .._std.interpreter_exit import is_exiting
from .._std.originals import monotonic

if TYPE_CHECKING:
    from .pool import BaseConnectionPool


class _Delegated:
    """An attribute of the connection, whatever kind it is there."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, wrapper: Any, owner: type | None = None) -> Any:
        return self if wrapper is None else getattr(wrapper._base, self._name)

    def __set__(self, wrapper: Any, value: Any) -> None:
        setattr(wrapper._base, self._name, value)


class GenericConnectionWrapper:
    """A connection, with every attribute that it has.

    Args:
        baseconn: The connection.
    """

    def __init__(self, baseconn: Any) -> None:
        self._base = baseconn

    def __repr__(self) -> str:
        base = self.__dict__.get("_base")
        return f"<{type(self).__name__} of {base!r} at {id(self):#x}>"

    def __getattr__(self, name: str) -> Any:
        # Only what was not found otherwise.
        if name == "_base":
            raise AttributeError(
                "this connection has gone back to its pool; get() another one"
            )
        return getattr(self._base, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            setattr(self._base, name, value)

    def __enter__(self) -> Any:
        return self._base.__enter__()

    def __exit__(
        self,
        exc: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> Any:
        return self._base.__exit__(exc, value, tb)

    # What the drivers of eventlet's time have. Named here so that a subclass may call
    # `super().cursor()`.
    affected_rows: Any = _Delegated()
    autocommit: Any = _Delegated()
    begin: Any = _Delegated()
    change_user: Any = _Delegated()
    character_set_name: Any = _Delegated()
    commit: Any = _Delegated()
    cursor: Any = _Delegated()
    dump_debug_info: Any = _Delegated()
    errno: Any = _Delegated()
    error: Any = _Delegated()
    errorhandler: Any = _Delegated()
    get_server_info: Any = _Delegated()
    insert_id: Any = _Delegated()
    literal: Any = _Delegated()
    ping: Any = _Delegated()
    query: Any = _Delegated()
    rollback: Any = _Delegated()
    select_db: Any = _Delegated()
    server_capabilities: Any = _Delegated()
    set_character_set: Any = _Delegated()
    set_isolation_level: Any = _Delegated()
    set_server_option: Any = _Delegated()
    set_sql_mode: Any = _Delegated()
    show_warnings: Any = _Delegated()
    shutdown: Any = _Delegated()
    sqlstate: Any = _Delegated()
    stat: Any = _Delegated()
    store_result: Any = _Delegated()
    string_literal: Any = _Delegated()
    thread_id: Any = _Delegated()
    use_result: Any = _Delegated()
    warning_count: Any = _Delegated()

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the connection."""
        return self._base.close(*args, **kwargs)


class PooledConnectionWrapper(GenericConnectionWrapper):
    """A connection that a pool has lent.

    Closing it, or dropping the last reference to it, gives it back. It is false once it
    is given back, and cannot be used any more then.

    Args:
        baseconn: The connection.
        pool: Its pool.
    """

    def __init__(self, baseconn: Any, pool: BaseConnectionPool) -> None:
        super().__init__(baseconn)
        self._pool = pool
        self._made_at = monotonic()

    def __bool__(self) -> bool:
        return "_base" in self.__dict__

    def _take(self) -> Any:
        """Return the connection, which is no longer to be had from here."""
        base = self._base
        del self._base
        return base

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Give the connection back to its pool; a second time it does nothing."""
        if self:
            self._pool.put(self)

    def __del__(self) -> None:
        if not self or is_exiting():
            return
        pool, made_at = self._pool, self._made_at
        give_back = pool._put_base
        base = self._take()
        # A finalizer is called anywhere, and may not wait there.
        try:
            if in_plain_thread():
                give_back(base, made_at, pool.cleanup)
            else:
                spawn_n(give_back, base, made_at, pool.cleanup)
        except Exception:
            pool._lost()
            raise


def in_plain_thread() -> bool:
    """Whether the caller is an OS thread without green threads."""
    return not cannot_wait() and hub_to_park_in("") is None
