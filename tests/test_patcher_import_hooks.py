"""Modules that are seen to when the program imports them."""

from __future__ import annotations

import importlib
import inspect
import sys

import pytest

from greenio._patch.import_hooks import when_imported


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that nobody has imported, with a module; returns the module's name."""
    name = "greenio_later_package"
    folder = tmp_path / name
    folder.mkdir()
    folder.joinpath("__init__.py").write_text("")
    folder.joinpath("module.py").write_text("def value():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    yield f"{name}.module"
    sys.meta_path[:] = before
    for known in (name, f"{name}.module"):
        sys.modules.pop(known, None)


def test_it_waits_for_the_import(package):
    seen = []
    when_imported(package, lambda module: seen.append(module.value()))
    importlib.import_module(package.partition(".")[0])
    assert seen == []
    module = importlib.import_module(package)
    assert seen == [1]
    assert module.value() == 1
    importlib.import_module(package)
    importlib.reload(module)
    assert seen == [1]


def test_it_is_called_now_if_the_module_is_there(package):
    module = importlib.import_module(package)
    finders = list(sys.meta_path)
    seen = []
    when_imported(package, seen.append)
    assert seen == [module]
    assert sys.meta_path == finders


def test_the_module_is_as_without(package):
    before = list(sys.meta_path)
    when_imported(package, lambda module: None)
    module = importlib.import_module(package)
    assert sys.meta_path == before
    for loader in (module.__loader__, module.__spec__.loader):
        assert type(loader) is importlib.machinery.SourceFileLoader
    assert "return 1" in inspect.getsource(module)


def test_it_can_be_found_without_being_imported(package):
    seen = []
    when_imported(package, seen.append)
    spec = importlib.util.find_spec(package)
    assert "return 1" in spec.loader.get_source(package)
    assert seen == []
    importlib.import_module(package)
    assert len(seen) == 1


def test_several_may_wait_for_a_module(package):
    seen = []
    when_imported(package, lambda module: seen.append("first"))
    when_imported(package, lambda module: seen.append("second"))
    importlib.import_module(package)
    assert sorted(seen) == ["first", "second"]


def test_what_is_not_there_stays_missing():
    before = list(sys.meta_path)
    when_imported("greenio_no_such_module", lambda module: None)
    try:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("greenio_no_such_module")
    finally:
        sys.meta_path[:] = before


def test_failures_reach_the_import(package):
    when_imported(package, lambda module: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        importlib.import_module(package)
    assert package not in sys.modules
