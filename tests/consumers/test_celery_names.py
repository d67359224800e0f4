"""What `greenio.workers.celery` offers bears the name that users import it by."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("celery")

from _fresh import run

TESTS = Path(__file__).parent.parent


def test_as_all_public_names_do():
    out = run(
        f"""
        import greenio.workers.celery
        import sys
        sys.path.insert(0, {str(TESTS)!r})
        import test_public_names as names

        for name in names.EXPORTS:
            if name.startswith("greenio.workers.celery."):
                names.test_nothing_bears_the_name_of_a_private_module(name)
                names.test_it_is_found_by_the_name_that_it_bears(name)
                names.test_its_annotations_mean_something(name)
                print(name.rpartition(".")[2])
        """
    )
    assert out.split() == ["TaskPool", "Timer"]
