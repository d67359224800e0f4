"""What a green thread may do by which it can be told from others, each in its own call."""

from __future__ import annotations

import weakref

import pytest
from greenlet import getcurrent

from greenio import corolocal, sleep

# What those below leave, which `nothing_kept` lets go.
kept = []


@pytest.fixture(autouse=True)
def nothing_kept():
    kept.clear()
    yield
    kept.clear()


def keep_strongly():
    kept.append(getcurrent())


def keep_weakly():
    kept.append(weakref.ref(getcurrent()))


def keep_as_a_key():
    kept.append(weakref.WeakKeyDictionary({getcurrent(): 1}))


def set_an_attribute():
    getcurrent().mine = 1


def set_a_name():
    getcurrent().name = "mine"


def set_a_local():
    namespace = corolocal.local()
    namespace.mine = 1
    kept.append(namespace)


def link_something():
    getcurrent().link(kept.append)


def wait_a_little():
    sleep(0)


TELLERS = [
    *(keep_strongly, keep_weakly, keep_as_a_key, set_an_attribute, set_a_name),
    *(set_a_local, link_something, wait_a_little),
]
