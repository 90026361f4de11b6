"""What a text search costs as a whole process: the first one in a dataset, and later ones.

    python benchmarks/search.py DATASET [--before CHECKOUT]

`--before` runs another checkout's `src` on the same dataset in turn, in the same environment. The
vectors that were kept are removed before the first search of each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

QUERIES = ("a dog runs to a person", "somebody juggles", "the camera pans over a street")


def cost(source: Path, dataset: Path, query: str) -> tuple[float, float, float]:
    """(processor seconds, wall seconds, peak megabytes) of one search."""
    code = "import sys; from stpe.cli import main; sys.argv[0] = 'stpe'; main()"
    command = [sys.executable, "-W", "ignore", "-c", code]
    command += ["search", str(dataset), query, "--profile", "embedded", "--json"]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(source)}
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the search failed with status {status}")
    # Linux counts kilobytes.
    return used.ru_utime + used.ru_stime, time.perf_counter() - begun, used.ru_maxrss / 1e3


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    arguments = parser.parse_args()
    here = Path(__file__).resolve().parents[1]
    checkouts = {"this": here} | ({"before": arguments.before} if arguments.before else {})
    print("| checkout | search | processor s | wall s | peak MB |\n|---|---|---|---|---|")
    for name, checkout in checkouts.items():
        shutil.rmtree(arguments.dataset / "search", ignore_errors=True)
        first, *later = [cost(checkout / "src", arguments.dataset, query) for query in QUERIES]
        rows = {
            "first": first,
            "later, median": tuple(map(statistics.median, zip(*later, strict=True))),
        }
        for what, (processor, wall, peak) in rows.items():
            print(f"| {name} | {what} | {processor:.2f} | {wall:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
