"""Look for bytes that the servers' readers do not stand.

    pip install atheris
    python fuzz/run.py heads -max_total_time=600

The targets are `heads`, `chunks` and `frames` of `tests/_fuzz.py`; what follows is for
libFuzzer. What it has found to be of interest is kept in ``fuzz/corpus/<target>``, and a
failure is written to ``crash-*``: pass the file instead of options to see it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

with atheris.instrument_imports(include=["greenio._http", "greenio._ws"]):
    import _fuzz


def main() -> None:
    """Run libFuzzer on the target that was named."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in _fuzz.TARGETS:
        sys.exit(f"usage: python fuzz/run.py {'|'.join(_fuzz.TARGETS)} [options]")
    corpus = HERE / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(_fuzz.SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = ["-rss_limit_mb=1024", "-timeout=10", *sys.argv[2:], str(corpus)]
    atheris.Setup([sys.argv[0], *options], _fuzz.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
