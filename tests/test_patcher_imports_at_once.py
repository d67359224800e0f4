"""import_patched and its relatives in several threads at the same time."""

from __future__ import annotations

import textwrap

import pytest

from _fresh import run

_BEGIN = """
import greenio
import importlib, os, sys, tempfile, time
from greenio.patcher import import_patched, inject, original, patch_function
threads = original("threading")
directory = tempfile.mkdtemp()
sys.path.insert(0, directory)
def module(name, text):
    with open(os.path.join(directory, name + ".py"), "w") as file:
        file.write(text)
    importlib.invalidate_caches()
class Thread(threads.Thread):
    # A real one, with a result.
    def __init__(self, func, *args):
        super().__init__(target=self.call, args=(func, *args), daemon=True)
        self.started, self.result = threads.Event(), None
        self.start()
        self.started.wait(10)
    def call(self, func, *args):
        self.started.set()
        try:
            self.result = func(*args)
        except BaseException as exc:
            self.result = exc
    def get(self):
        self.join(20)
        return "it hangs" if self.is_alive() else self.result
    def until_it_imports(self):
        # Until it waits for a lock of an import.
        names = set()
        deadline = time.monotonic() + 20
        while "acquire" not in names and time.monotonic() < deadline:
            names.clear()
            frame = sys._current_frames().get(self.ident)
            while frame is not None:
                if "import" in frame.f_code.co_filename:
                    names.add(frame.f_code.co_name)
                frame = frame.f_back
            original("time").sleep(0.001)
# What module code may refer to.
sys.marks = marks = {name: threads.Event() for name in ("a", "b", "go a", "go b")}
def at(name):
    marks[name].set()
    assert marks["go " + name].wait(20)
sys.at = at
"""

PATCHED = pytest.mark.parametrize("patched", [False, True], ids=["plain", "patched"])


def program(text: str, hub: str, *, patched: bool = False) -> str:
    begin = "import greenio; greenio.monkey_patch()\n" if patched else ""
    return run(begin + _BEGIN + textwrap.dedent(text), hub=hub)


# -- circles of two OS threads ---------------------------------------------------------

_CIRCLES = {
    "import_patched": (
        "import sys; sys.at('a'); import b; last = 1",
        (
            "import sys, greenio; sys.at('b')\n"
            "got = greenio.import_patched('a'); last = 1"
        ),
        "import_patched('a')",
    ),
    "patch_function": (
        (
            "import sys; from greenio.patcher import patch_function\n"
            "def inside(): sys.at('a'); import b; return sys.modules['a']\n"
            "f = patch_function(inside, ('c', sys))"
        ),
        (
            "import sys; from greenio.patcher import patch_function\n"
            "sys.at('b'); got = patch_function(lambda: sys, ('c', sys))(); last = 1"
        ),
        "importlib.import_module('a').f()",
    ),
}


@PATCHED
@pytest.mark.parametrize("kind", _CIRCLES)
@pytest.mark.parametrize("first", ["a", "b"])
def test_a_circle_with_the_locks_of_the_interpreter_ends(loop, patched, kind, first):
    a, b, call = _CIRCLES[kind]
    if kind == "patch_function" and first == "b":
        pytest.skip("the other one waits for nothing")
    assert (
        program(
            f"""
            module("a", {a!r})
            module("b", {b!r})
            one = Thread(lambda: {call})
            marks["a"].wait()
            two = Thread(importlib.import_module, "b")
            marks["b"].wait()
            first, second = [one, two] if {first!r} == "a" else [two, one]
            marks["go " + {first!r}].set()
            first.until_it_imports()
            for mark in marks.values():
                mark.set()
            print(one.get().__name__, two.get().__name__)
            print(sys.modules["b"].last, hasattr(sys.modules["b"].got, "__name__"))
            print(getattr(one.result, "last", 1), "c" in sys.modules)
            """,
            loop,
            patched=patched,
        )
        == "a b\n1 True\n1 False\n"
    )


def test_a_circle_with_an_import_that_began_before_the_patch_ends(loop):
    assert (
        program(
            """
            module("a", "import sys; sys.at('a'); import b; last = 1")
            module("b", "import sys; sys.at('b'); import a; last = 1")
            two = Thread(importlib.import_module, "b")
            marks["b"].wait()
            greenio.monkey_patch()
            one = Thread(importlib.import_module, "a")
            marks["a"].wait()
            marks["go b"].set()
            two.until_it_imports()
            marks["go a"].set()
            print(one.get().last, two.get().last)
            """,
            loop,
        )
        == "1 1\n"
    )


@PATCHED
def test_a_circle_of_three_ends(loop, patched):
    assert (
        program(
            """
            module("a", "import sys; sys.at('a'); import b; last = 1")
            module("b", "import sys, greenio; sys.at('b')\\n"
                "greenio.import_patched('c'); last = 1")
            module("c", "import sys, greenio; sys.at('c')\\n"
                "greenio.import_patched('a'); last = 1")
            marks.update({name: threads.Event() for name in ("c", "go c")})
            one = Thread(import_patched, "a")
            marks["a"].wait()
            two = Thread(importlib.import_module, "b")
            marks["b"].wait()
            three = Thread(import_patched, "c")
            marks["c"].wait()
            for mark, thread in [("go a", one), ("go b", two)]:
                marks[mark].set()
                thread.until_it_imports()
            marks["go c"].set()
            print(one.get().last, two.get().last, three.get().last)
            """,
            loop,
            patched=patched,
        )
        == "1 1 1\n"
    )


# -- whole modules ---------------------------------------------------------------------


@PATCHED
def test_os_threads_get_one_module_and_whole(loop, patched):
    assert (
        program(
            """
            module("a", "import sys; sys.at('a'); last = 1")
            module("user", "def last():\\n import a\\n return a.last")
            user = import_patched("user")
            one = Thread(import_patched, "a")
            marks["a"].wait()
            two, three = Thread(import_patched, "a"), Thread(user.last)
            two.until_it_imports()
            three.until_it_imports()
            marks["go a"].set()
            print(one.get() is two.get(), three.get(), "a" in sys.modules)
            """,
            loop,
            patched=patched,
        )
        == "True 1 False\n"
    )


@PATCHED
def test_green_threads_get_one_module_and_whole(loop, patched):
    assert (
        program(
            """
            sys.event = event = greenio.event.Event()
            module("a", "import sys; first = 1; sys.event.wait(); last = 1")
            module("user", "def last():\\n import a\\n return a.last")
            user = import_patched("user")
            greens = [greenio.spawn(import_patched, "a") for _ in range(3)]
            last = greenio.spawn(user.last)
            greenio.sleep(0)
            other = Thread(import_patched, "a")
            other.until_it_imports()
            event.send()
            modules = {green.wait() for green in greens}
            print(len(modules), last.wait(), other.get() in modules)
            """,
            loop,
            patched=patched,
        )
        == "1 1 True\n"
    )


@PATCHED
def test_a_circle_of_green_threads_ends(loop, patched):
    assert (
        program(
            """
            sys.events = {name: greenio.event.Event() for name in "ab"}
            module("a", "import sys; sys.events['a'].wait(); import b; last = 1")
            module("b", "import sys, greenio; sys.events['b'].wait()\\n"
                "greenio.import_patched('a'); last = 1")
            one = greenio.spawn(import_patched, "a")
            two = greenio.spawn(importlib.import_module, "b")
            greenio.sleep(0)
            for event in sys.events.values():
                event.send()
                greenio.sleep(0)
            with greenio.Timeout(20):
                print(one.wait().last, two.wait().last)
            """,
            loop,
            patched=patched,
        )
        == "1 1\n"
    )


def test_a_coroutine_gets_what_a_green_thread_executes_as_far_as_it_is(loop):
    assert (
        program(
            """
            sys.event = event = greenio.event.Event()
            module("a", "import sys; first = 1; sys.event.wait(); last = 1")
            async def main():
                green = greenio.spawn(import_patched, "a")
                await greenio.run_green(greenio.sleep, 0)
                a = import_patched("a")
                print(a.first, hasattr(a, "last"))
                event.send()
                print(await green is a, a.last)
            greenio.run(main)
            """,
            loop,
        )
        == "1 False\nTrue 1\n"
    )


@PATCHED
def test_who_waits_executes_what_has_failed_for_another(loop, patched):
    assert (
        program(
            """
            sys.fails = [True]
            module("a", "import sys; sys.at('a')\\n"
                "if sys.fails and sys.fails.pop(): raise ValueError\\nlast = 1")
            one = Thread(import_patched, "a")
            marks["a"].wait()
            two = Thread(import_patched, "a")
            two.until_it_imports()
            marks["go a"].set()
            print(repr(one.get()), two.get().last, "a" in sys.modules)
            """,
            loop,
            patched=patched,
        )
        == "ValueError() 1 False\n"
    )


def test_a_green_thread_that_is_killed_in_the_middle_lets_the_next_one_execute(loop):
    assert (
        program(
            """
            sys.event = event = greenio.event.Event()
            module("a", "import sys; sys.event.wait(); last = 1")
            one, two = [greenio.spawn(import_patched, "a") for _ in range(2)]
            greenio.sleep(0)
            one.kill()
            event.send()
            print(two.wait().last, "a" in sys.modules)
            """,
            loop,
        )
        == "1 False\n"
    )


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_process_is_not_held_up_by_what_its_parent_executes(loop):
    assert (
        program(
            """
            sys.event = greenio.event.Event()
            module("a", "import sys; first = 1; sys.event.wait(); last = 1")
            green = greenio.spawn(import_patched, "a")
            greenio.sleep(0)
            pid = os.fork()
            if pid == 0:
                os._exit(7 * import_patched("a").first)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            sys.event.send()
            print(green.wait().last)
            """,
            loop,
        )
        == "7\n1\n"
    )


# -- what stands in sys.modules --------------------------------------------------------


def test_what_stood_in_sys_modules_comes_back_whoever_ends_first(loop):
    assert (
        program(
            """
            import types
            sys.modules["c"] = before = types.ModuleType("c")
            mine = {name: types.ModuleType(name) for name in "ab"}
            def inside(name):
                sys.at(name)
                return sys.modules["c"]
            def call(name):
                return patch_function(inside, ("c", mine[name]))(name)
            one = Thread(call, "a")
            marks["a"].wait()
            two = Thread(call, "b")
            marks["b"].wait()
            marks["go a"].set()
            print(one.get().__name__, sys.modules["c"].__name__)
            marks["go b"].set()
            print(two.get().__name__, sys.modules["c"] is before)
            """,
            loop,
        )
        == "b b\nb True\n"
    )


def test_a_module_that_two_contexts_execute_is_itself_in_each(loop):
    assert (
        program(
            """
            import types
            module("a", "import sys; sys.at('a'); import c; who = c.__name__\\n"
                "itself = sys.modules[__name__].__dict__ is globals()")
            def execute(name):
                return inject("a", None, ("c", types.ModuleType(name)))
            one = Thread(execute, "one")
            marks["a"].wait()
            two = Thread(execute, "two")
            two.until_it_imports()
            marks["go a"].set()
            print(one.get().who, one.result.itself, two.get().who, two.result.itself)
            print("a" in sys.modules)
            """,
            loop,
        )
        == "one True two True\nFalse\n"
    )
