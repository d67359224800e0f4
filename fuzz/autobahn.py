"""Run the Autobahn suite's client cases against the WebSocket server, on each loop.

    python fuzz/autobahn.py wstest
    python fuzz/autobahn.py path/to/python2.7 -m autobahntestsuite.wstest

The arguments are how to start the suite (`pip install autobahntestsuite`, for Python
2.7). It takes half an hour, and prints the cases that do not behave; what it says of
each is in ``fuzz/corpus/autobahn``.
"""

from __future__ import annotations

import collections
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import greenio
from greenio import hubs, wsgi
from greenio.websocket import WebSocketWSGI

LOOPS = {"asyncio": 9001, "uvloop": 9002}
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.*", "13.*"]
REPORTS = Path(__file__).parent / "corpus" / "autobahn"
BEHAVE = {"OK", "INFORMATIONAL", "NON-STRICT"}


@WebSocketWSGI.configured(max_frame_length=1 << 26)
def echo(ws: object) -> None:
    """Send everything back."""
    for message in ws:  # type: ignore[attr-defined]
        ws.send(message)  # type: ignore[attr-defined]


def serve(loop: str) -> None:
    """Serve on one loop, until it is killed."""
    hubs.use_hub(loop)
    listener = greenio.listen(("127.0.0.1", LOOPS[loop]))
    wsgi.server(listener, echo, log_output=False)


def main(command: list[str]) -> int:
    """Run the suite; return how many cases do not behave."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    spec = REPORTS / "client.json"
    servers = [
        {"agent": loop, "url": f"ws://127.0.0.1:{port}"} for loop, port in LOOPS.items()
    ]
    spec.write_text(
        json.dumps(
            {
                "outdir": str(REPORTS),
                "servers": servers,
                "cases": CASES,
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    with contextlib.ExitStack() as stack:
        for loop in LOOPS:
            process = subprocess.Popen([sys.executable, __file__, "--serve", loop])
            stack.callback(process.kill)
        time.sleep(2)
        subprocess.run([*command, "-m", "fuzzingclient", "-s", str(spec)], check=True)
    wrong = 0
    for loop, cases in json.loads((REPORTS / "index.json").read_text()).items():
        how = collections.Counter(case["behavior"] for case in cases.values())
        print(f"{loop}: {len(cases)} cases, {dict(how)}")
        for name, case in cases.items():
            if not {case["behavior"], case["behaviorClose"]} <= BEHAVE:
                wrong += 1
                print(f"  {name}: {case['behavior']}, {case['behaviorClose']}")
    return wrong


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    elif len(sys.argv) < 2:
        sys.exit(__doc__)
    else:
        sys.exit(bool(main(sys.argv[1:])))
