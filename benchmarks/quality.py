"""Quality of each signal on labelled clips, each figure beside a baseline on the same inputs.

    python benchmarks/quality.py [--data FOLDER] [--only shots,tracking] [--out FILE.md]

Prints one table, and writes it with command, commit and machine to `results/<date>-quality.md`
(with `--only`, the names of the sets are in the file's name). Each module of `quality_sets/` has
`run(data) -> rows` with keys set, metric, ours, baseline, baseline_value, n, and optionally note;
and `SAMPLING`, which frames it looks at.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
SETS = ("shots", "tracking", "masks", "flow", "camera", "geometry")


def main() -> int:
    """Run the chosen sets and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--only", default=",".join(SETS), help="comma-separated sets")
    parser.add_argument("--out", type=Path, help="the report; default: results/<date>-quality.md")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"the labelled clips are not at {options.data}; pass --data", file=sys.stderr)
        return 2
    names = options.only.split(",")
    unknown = [name for name in names if name not in SETS]
    if unknown:
        print(f"no set is called {unknown[0]!r}; there are {', '.join(SETS)}", file=sys.stderr)
        return 2
    sys.path.insert(0, str(HERE))
    rows: list[dict[str, Any]] = []
    notes = []
    for name in names:
        started, used = time.monotonic(), time.process_time()
        module = importlib.import_module(f"quality_sets.{name}")
        rows += [{"signal": name, **row} for row in module.run(options.data)]
        wall, processor = time.monotonic() - started, time.process_time() - used
        seconds = f"{wall:.0f} s, {processor:.0f} s of processor"
        notes.append(f"- {name}: {module.SAMPLING} ({seconds})")
        print(f"{name}: {seconds}", file=sys.stderr)
    Console().print(render(rows))
    part = "" if names == list(SETS) else "-" + "-".join(names)
    today = datetime.date.today().isoformat()
    out = options.out or HERE / "results" / f"{today}-quality{part}.md"
    out.write_text(report(rows, notes, today, " ".join(sys.argv[1:])))
    print(f"written to {out}", file=sys.stderr)
    return 0


def report(rows: list[dict[str, Any]], notes: list[str], today: str, options: str) -> str:
    """The rows as a dated report in Markdown."""
    commit = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    head = "| signal | set | metric | ours | baseline | its value | n | note |\n|" + 8 * "---|"
    lines = ["| " + " | ".join(cells(row)) + " |" for row in rows]
    command = f"python benchmarks/quality.py {options}".strip()
    parts = [
        f"# Quality on labelled clips, {today}",
        f"`{command}` at commit {commit or 'unknown'}; {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}.",
        "What is looked at, and what it took:",
        "\n".join(notes),
        "\n".join([head, *lines]),
    ]
    return "\n\n".join(parts) + "\n"


def render(rows: list[dict[str, Any]]) -> Table:
    """The rows as a table."""
    table = Table("signal", "set", "metric", "ours", "baseline", "its value", "n", "note")
    for row in rows:
        table.add_row(*cells(row))
    return table


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row as text."""
    return (
        row["signal"],
        row["set"],
        row["metric"],
        _number(row["ours"]),
        row["baseline"],
        _number(row["baseline_value"]),
        str(row["n"]),
        row.get("note", ""),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
