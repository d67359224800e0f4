"""Have pyright say whether every public name has a type: `tox run -e typing`.

It exits with 1, and names what has none, unless all have one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main() -> int:
    command = (
        sys.executable,
        "-m",
        "pyright",
        "--verifytypes",
        "greenio",
        "--ignoreexternal",
        "--outputjson",
    )
    # It asks the first Python on the path what is installed.
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    environment = {**os.environ, "PATH": os.pathsep.join(path)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    try:
        answer = json.loads(done.stdout)["typeCompleteness"]
    except (KeyError, ValueError):
        sys.exit(f"pyright said nothing useful:\n{done.stdout}\n{done.stderr}")
    counts = answer["exportedSymbolCounts"]
    unknown = [
        symbol
        for symbol in answer["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
    ]
    for symbol in unknown:
        print(symbol["name"])
        for diagnostic in symbol["diagnostics"]:
            print(f"    {diagnostic['message']}")
    known = counts["withKnownType"]
    print(f"{known} of {sum(counts.values())} public names have a type")
    return 1 if unknown or not known else 0


if __name__ == "__main__":
    sys.exit(main())
