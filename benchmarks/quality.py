"""Quality of each signal on labelled clips, each figure beside a baseline on the same inputs.

    python benchmarks/quality.py [--data FOLDER] [--only shots,tracking] [--out FILE.json]

Each module of `quality_sets/` has `run(data) -> rows` with keys set, metric, ours, baseline,
baseline_value, n, and optionally note.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
SETS = ("shots", "tracking", "masks", "flow", "camera")


def main() -> int:
    """Run the chosen sets and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--only", default=",".join(SETS), help="comma-separated sets")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"the labelled clips are not at {options.data}; pass --data", file=sys.stderr)
        return 2
    sys.path.insert(0, str(HERE))
    rows: list[dict[str, Any]] = []
    for name in options.only.split(","):
        if name not in SETS:
            print(f"no set is called {name!r}; there are {', '.join(SETS)}", file=sys.stderr)
            return 2
        started = time.monotonic()
        found = importlib.import_module(f"quality_sets.{name}").run(options.data)
        rows += [{"signal": name, **row} for row in found]
        print(f"{name}: {len(found)} rows in {time.monotonic() - started:.0f} s", file=sys.stderr)
    Console().print(render(rows))
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def render(rows: list[dict[str, Any]]) -> Table:
    """The rows as a table."""
    table = Table("signal", "set", "metric", "ours", "baseline", "its value", "n", "note")
    for row in rows:
        table.add_row(
            row["signal"],
            row["set"],
            row["metric"],
            _number(row["ours"]),
            row["baseline"],
            _number(row["baseline_value"]),
            str(row["n"]),
            row.get("note", ""),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
