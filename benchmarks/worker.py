"""One benchmark on one runtime, in a process of its own.

``python -m benchmarks.worker NAME RUNTIME COUNT`` prints one line of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import sys

from .runtimes import RUNTIMES
from .suite import BENCHMARKS

# Before a measurement, as many operations as let the interpreter specialise its
# bytecode and the runtime make its loop.
_WARMUP_SHARE = 10


def main(name: str, runtime: str, count: int) -> None:
    form = BENCHMARKS[name].forms[RUNTIMES[runtime].kind]
    if BENCHMARKS[name].warmup:
        form(runtime, count // _WARMUP_SHARE)
    print(json.dumps(dataclasses.asdict(form(runtime, count))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
