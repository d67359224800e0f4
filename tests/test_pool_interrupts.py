"""An interrupt at any place where a pool is used costs none of its slots."""

from __future__ import annotations

from pathlib import Path

import pytest

import _fresh
from _pool_injection import USES

INJECTION = str(Path(__file__).parent / "_pool_injection.py")

# The others take longer, and see little else.
BRIEFLY = [("raised", "spawn"), ("signalled", "spawn_killed"), ("signalled", "imap")]
# Greenio's handler raises nothing where a green thread ends, whom a link is then to tell.
NOT_THERE = [("raised", "imap_looked_at")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "use"),
    [
        pytest.param(
            kind, use, marks=() if (kind, use) in BRIEFLY else pytest.mark.stress
        )
        for kind in ("raised", "signalled")
        for use in USES
        if (kind, use) not in NOT_THERE
    ],
)
def test_no_slot_is_lost_or_doubled(hub_name, kind, use):
    """When the workers have ended all slots are free, and the pool goes on working."""
    warnings = {"PYTHONWARNINGS": "default"}
    done = _fresh.python(INJECTION, kind, use, hub=hub_name, **warnings)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert int(done.stdout) > 100
