"""Executing a module's own code with other modules behind its imports.

A `ImportContext` maps module names to the modules that an ``import`` means in it. Code runs in
a context because its globals carry the context's ``__import__`` in their ``__builtins__``:
the interpreter asks those for every import statement, at the top of the module and,
later, inside its functions. `sys.modules` is not what decides, so other threads that
import at the same time notice nothing.

Which modules are executed again in the context, and which are shared with everybody:

* the module asked for, and the submodules of its package: executed again;
* what has a counterpart in the context (`socket`, `threading`, ...): the counterpart;
* other modules of the standard library, and whatever was imported before: shared;
* other packages, imported for the first time here: executed in the context alone if they
  are plain Python, shared if they have compiled parts, which exist once per process.

While a module's code runs, `sys.modules` holds it under its own name, because enum,
dataclasses and typing look themselves up there. Whatever stood there is put back,
also if the code fails.

As with the interpreter's own imports, each module that is executed has a lock, which knows
green threads apart and the interpreter's locks: who comes while somebody else executes it
waits until it is whole, and where both would wait for each other gets it as far as it is
(see `import_locks`). Nothing else is held while code runs.
"""

from __future__ import annotations

import builtins
import functools
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, ParamSpec, TypeVar

from .import_locks import Deadlock, execution_lock_of
from .plans import DEPRECATED, GREEN
from .stand_ins import StandIns

P = ParamSpec("P")
T = TypeVar("T")

_MISSING = object()


class SysModulesSaver:
    """Remembers entries of `sys.modules`, and puts them back.

    Args:
        module_names: The names to remember from the start.
    """

    def __init__(self, module_names: Iterable[str] = ()) -> None:
        self._saved: dict[str, Any] = {}
        self.save(*module_names)

    def save(self, *module_names: str) -> None:
        """Remember what these names stand for now, unless they are remembered."""
        for name in module_names:
            self._saved.setdefault(name, sys.modules.get(name, _MISSING))

    def restore(self) -> None:
        """Put everything back, and forget it."""
        while self._saved:
            name, module = self._saved.popitem()
            if module is _MISSING:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


class ImportContext:
    """What import statements mean to code that is executed in it.

    Args:
        modules: Modules by the name under which they are imported.
        counterparts: Names below `greenio.green`, by the standard name; imported when
            first asked for.
    """

    def __init__(
        self,
        modules: Mapping[str, ModuleType] | None = None,
        counterparts: Mapping[str, str] | None = None,
    ) -> None:
        self._modules: dict[str, ModuleType] = dict(modules or {})
        self._counterparts = dict(counterparts or {})
        self._private: set[str] = set()
        self._shared: set[str] = set()
        # Those whose code runs.
        self._executing: set[str] = set()
        self._builtins = {**vars(builtins), "__import__": self._import}

    def add_root(self, package: str) -> None:
        """Have the submodules of a package executed again too.

        Not of the standard library's packages: what should differ there does.
        """
        if package not in sys.stdlib_module_names:
            self._private.add(package)

    def counterpart(self, name: str) -> ModuleType | None:
        """Return the module that stands for another one here, if one does."""
        green = self._counterparts.get(name)
        if green is None or name in self._modules:
            return None
        return _import_shared(f"greenio.green.{green}")

    # -- executing -----------------------------------------------------------------

    def execute(self, code: CodeType, namespace: dict[str, Any]) -> None:
        """Run code whose import statements ask this context."""
        namespace["__builtins__"] = self._builtins
        exec(code, namespace)  # noqa: S102 - the module's own code

    def run_module(self, name: str, *, required: bool = False) -> ModuleType:
        """Import a module and its parents by executing them in this context.

        Args:
            name: The module.
            required: Whether a module that is not made of Python code is an error; else
                it is shared with everybody.
        """
        module = self._made(name)
        if module is not None:
            return module
        parent_name, _, child = name.rpartition(".")
        path = None
        if parent_name:
            parent = self._load(parent_name)
            # Importing the parent may have imported the child.
            module = self._made(name)
            if module is not None:
                return module
            if parent_name in self._counterparts:
                # The green package lies elsewhere and holds only what is green.
                parent = _import_shared(parent_name)
            path = getattr(parent, "__path__", None)
            if path is None:
                raise ModuleNotFoundError(
                    f"No module named {name!r}; {parent_name!r} is not a package",
                    name=name,
                )
        spec = _find_spec(name, path)
        code = _code_of(spec)
        if code is None:
            if required:
                raise _no_code(name)
            module = self._modules.setdefault(name, _import_shared(name))
        else:
            with _alone(name):
                module = self._modules.get(name)
                if module is None:
                    module = self._execute_spec(spec, code)
        if parent_name in self._modules and parent_name not in self._counterparts:
            setattr(self._modules[parent_name], child, module)
        return module

    def _made(self, name: str) -> ModuleType | None:
        """Return a module of this context, whole if that can be; None if it has none."""
        if name in self._modules and name in self._executing:
            with _alone(name):
                pass
        # None again if its code has failed.
        return self._modules.get(name)

    def _execute_spec(
        self, spec: importlib.machinery.ModuleSpec, code: CodeType
    ) -> ModuleType:
        name = spec.name
        module = importlib.util.module_from_spec(spec)
        stand_in = StandIns({name: module})
        self._executing.add(name)
        self._modules[name] = module
        try:
            with stand_in:
                self.execute(code, module.__dict__)
                # A module may replace itself, as some lazy ones do.
                module = self._modules[name] = stand_in.outcome(name)
        except BaseException:
            self._modules.pop(name, None)
            raise
        finally:
            self._executing.discard(name)
        return module

    # -- importing -----------------------------------------------------------------

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - __import__'s names
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Iterable[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What `__import__` is to the code of this context."""
        if level:
            package = (globals or {}).get("__package__") or ""
            name = importlib.util.resolve_name("." * level + name, package)
        if not fromlist:
            self._load(name)
            return self._load(name.partition(".")[0])
        module = self._load(name)
        if hasattr(module, "__path__"):
            for item in fromlist:
                names = getattr(module, "__all__", ()) if item == "*" else (item,)
                for attribute in names:
                    if not hasattr(module, attribute):
                        self._load_if_there(f"{name}.{attribute}")
        return module

    def _load_if_there(self, name: str) -> None:
        try:
            self._load(name)
        except ModuleNotFoundError as exc:
            if exc.name != name:
                raise

    def _load(self, name: str) -> ModuleType:
        module = self._made(name)
        if module is not None:
            return module
        module = self.counterpart(name)
        if module is not None:
            self._modules[name] = module
        elif self._is_private(name.partition(".")[0]):
            return self.run_module(name)
        else:
            module = _import_shared(name)
        parent_name, _, child = name.rpartition(".")
        if parent_name:
            parent = self._load(parent_name)
            if not hasattr(parent, child):
                setattr(parent, child, module)
        return module

    def _is_private(self, package: str) -> bool:
        if package in self._private:
            return True
        if (
            package in self._shared
            or package in sys.modules
            or package in sys.stdlib_module_names
            or package == __package__.partition(".")[0]
        ):
            return False
        spec = importlib.util.find_spec(package)
        if spec is not None and _is_plain_python(spec):
            self._private.add(package)
            return True
        self._shared.add(package)
        return False


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Let nobody else execute a module meanwhile.

    Unless those who do wait for the caller: then the block is entered at once.
    """
    lock = execution_lock_of(name)
    try:
        lock.acquire()
    except Deadlock:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _import_shared(name: str) -> ModuleType:
    """Import a module as an import statement does.

    `importlib.import_module` raises where that gets a module as far as it is.
    """
    builtins.__import__(name)
    return sys.modules[name]


def _find_spec(name: str, path: Iterable[str] | None) -> importlib.machinery.ModuleSpec:
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec = None if find_spec is None else find_spec(name, path, None)
        if spec is not None:
            found: importlib.machinery.ModuleSpec = spec
            return found
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _code_of(spec: importlib.machinery.ModuleSpec) -> CodeType | None:
    """The module's code; None if it is not made of Python code."""
    get_code = getattr(spec.loader, "get_code", None)
    code: CodeType | None
    if get_code is not None:
        code = get_code(spec.name)
        return code
    # Some loaders only execute, such as pytest's for the tests that it rewrites.
    file = spec.origin
    if not spec.has_location or file is None or not file.endswith(".py"):
        return None
    code = compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    return code


def _is_plain_python(spec: importlib.machinery.ModuleSpec) -> bool:
    if spec.submodule_search_locations is None:
        return isinstance(
            spec.loader,
            (
                importlib.machinery.SourceFileLoader,
                importlib.machinery.SourcelessFileLoader,
            ),
        )
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    return not any(
        file.endswith(suffixes)
        for location in spec.submodule_search_locations
        for _, _, files in os.walk(location)
        for file in files
    )


def code_of(name: str) -> CodeType:
    """Return the code of a module, found without importing it.

    Raises:
        ImportError: It is not made of Python code, so it cannot be executed again.
    """
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    code = _code_of(spec)
    if code is None:
        raise _no_code(name)
    return code


def _no_code(name: str) -> ImportError:
    return ImportError(
        f"{name} has no Python code to execute once more; only modules written in "
        "Python can be imported green",
        name=name,
    )


# The context of everything that is imported green without further ado: what two modules
# have in common exists once.
_shared_context = ImportContext(counterparts=GREEN)


def import_patched(
    module_name: str,
    *additional_modules: tuple[str, ModuleType],
    **kw_additional_modules: ModuleType,
) -> ModuleType:
    """Import a module so that it, and it alone, uses green modules.

    Its code is executed once more with green modules behind its imports; the module
    that everybody else imports under that name is left alone.

    Args:
        module_name: The module; the other modules of its package come along.
        *additional_modules: More modules for its imports, as (name, module).
        **kw_additional_modules: The same, by keyword.

    Returns:
        The green module; the same one the next time, unless modules are added.

    Raises:
        ImportError: There is no such module, or it is not made of Python code.
    """
    if additional_modules or kw_additional_modules:
        return inject(
            module_name, None, *additional_modules, *kw_additional_modules.items()
        )
    return _run_in(_shared_context, module_name)


def _run_in(context: ImportContext, name: str) -> ModuleType:
    context.add_root(name.partition(".")[0])
    counterpart = context.counterpart(name)
    if counterpart is not None:
        return counterpart
    return context.run_module(name, required=True)


def inject(
    module_name: str,
    new_globals: dict[str, Any] | None,
    *additional_modules: tuple[str, ModuleType],
) -> ModuleType:
    """Execute a module once more with other modules behind its imports.

    Args:
        module_name: The module to execute.
        new_globals: A namespace to fill with what the module defines, or None. With
            one, the module's code runs in that namespace under that namespace's
            ``__name__``.
        *additional_modules: What imports mean, as (name, module); beside them, the
            standard library is green.

    Returns:
        The module that was made; with `new_globals`, the one that they belong to.

    Raises:
        ImportError: There is no such module, or it is not made of Python code.
    """
    context = ImportContext(dict(additional_modules), GREEN)
    if new_globals is None:
        return _run_in(context, module_name)
    context.add_root(module_name.partition(".")[0])
    context.execute(code_of(module_name), new_globals)
    owner = sys.modules.get(new_globals.get("__name__", ""))
    if owner is None or vars(owner) is not new_globals:
        owner = ModuleType(module_name)
        owner.__dict__.update(new_globals)
    return owner


def patch_function(
    func: Callable[P, T], *additional_modules: tuple[str, ModuleType]
) -> Callable[P, T]:
    """Return the function with green modules behind the imports that it makes.

    While it runs, `sys.modules` itself is changed, which every thread can see; it is
    for small functions that import something and do not wait.

    Args:
        func: The function.
        *additional_modules: What imports mean, as (name, module); by default, the
            standard library is green.

    Returns:
        The wrapped function.
    """

    @functools.wraps(func)
    def patched(*args: P.args, **kwargs: P.kwargs) -> T:
        modules = dict(additional_modules) or {
            name: _import_shared(f"greenio.green.{green}")
            for name, green in GREEN.items()
            if name not in DEPRECATED
        }
        with StandIns(modules):
            return func(*args, **kwargs)

    return patched


def slurp_properties(
    source: ModuleType,
    destination: dict[str, Any],
    ignore: Iterable[str] = (),
    srckeys: Iterable[str] | None = None,
) -> None:
    """Copy names from a module into a namespace.

    Args:
        source: The module.
        destination: The namespace.
        ignore: Names to leave out.
        srckeys: The names to copy; by default the module's ``__all__``, or else
            all that it has.
    """
    names = getattr(source, "__all__", vars(source)) if srckeys is None else srckeys
    left_out = set(ignore)
    destination.update(
        {name: getattr(source, name) for name in names if name not in left_out}
    )
