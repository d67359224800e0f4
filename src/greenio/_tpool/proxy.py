"""`Proxy`: an object whose methods are called in the pool of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .pool import execute


def proxy_call(
    autowrap: tuple[type, ...], f: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Call a function in the pool, with bare objects in place of proxies.

    Args:
        autowrap: Types; a result that is an instance of one of them is wrapped.
        f: The function.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments; eventlet's ``nonblocking=True`` among them makes
            the call in place.

    Returns:
        What it returned, in a `Proxy` if it is to be wrapped.
    """
    bare = tuple(arg._obj if isinstance(arg, Proxy) else arg for arg in args)
    if kwargs.pop("nonblocking", False):
        result = f(*bare, **kwargs)
    else:
        result = execute(f, *bare, **kwargs)
    if isinstance(result, tuple(autowrap)):
        return Proxy(result, autowrap)
    return result


class Proxy:
    """An object whose methods are called in the pool.

    ``Proxy(module_or_object).method(...)`` makes the call in an OS thread.

    Args:
        obj: The object, or a module.
        autowrap: Types; results that are instances of them are wrapped too.
        autowrap_names: Names of methods whose results are wrapped too.
    """

    def __init__(
        self,
        obj: Any,
        autowrap: tuple[type, ...] | list[type] = (),
        autowrap_names: tuple[str, ...] | list[str] = (),
    ) -> None:
        self._obj = obj
        self._autowrap = tuple(autowrap)
        self._autowrap_names = tuple(autowrap_names)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._obj, name)
        wrap_always = name in self._autowrap_names
        if not callable(value):
            if wrap_always or isinstance(value, self._autowrap):
                return Proxy(value, self._autowrap, self._autowrap_names)
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(value, args, kwargs, wrap_always)

        return call

    def _call(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wrap_always: bool = False,
    ) -> Any:
        bare = tuple(arg._obj if isinstance(arg, Proxy) else arg for arg in args)
        result = execute(func, *bare, **kwargs)
        if wrap_always or (self._autowrap and isinstance(result, self._autowrap)):
            return Proxy(result, self._autowrap, self._autowrap_names)
        return result

    # What the interpreter looks up on the type. Those that only look at the object in
    # memory are made in place.

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object in the pool."""
        return self._call(self._obj, args, kwargs, "__call__" in self._autowrap_names)

    def __enter__(self) -> Any:
        return self._call(self._obj.__enter__, (), {})

    def __exit__(self, *exc: object) -> Any:
        return self._call(self._obj.__exit__, exc, {})

    def __getitem__(self, key: Any) -> Any:
        return self._call(self._obj.__getitem__, (key,), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        self._call(self._obj.__setitem__, (key, value), {})

    def __delitem__(self, key: Any) -> None:
        self._call(self._obj.__delitem__, (key,), {})

    def __contains__(self, item: Any) -> bool:
        return bool(self._call(self._obj.__contains__, (item,), {}))

    def __len__(self) -> int:
        return len(self._obj)

    def __bool__(self) -> bool:
        return bool(self._obj)

    def __str__(self) -> str:
        return str(self._obj)

    def __repr__(self) -> str:
        return repr(self._obj)

    def __eq__(self, other: object) -> bool:
        return bool(self._obj == (other._obj if isinstance(other, Proxy) else other))

    def __hash__(self) -> int:
        return hash(self._obj)

    def __iter__(self) -> Iterator[Any]:
        return _ProxyIterator(self, iter(self._obj))

    def __next__(self) -> Any:
        return _ProxyIterator(self, self._obj).__next__()

    next = __next__


_END = object()


class _ProxyIterator:
    """Fetches each item in the pool."""

    def __init__(self, proxy: Proxy, iterator: Iterator[Any]) -> None:
        self._proxy = proxy
        self._iterator = iterator

    def __iter__(self) -> _ProxyIterator:
        return self

    def __next__(self) -> Any:
        # StopIteration cannot travel through a function that calls for it.
        item = self._proxy._call(next, (self._iterator, _END), {})
        if item is _END:
            raise StopIteration
        return item
