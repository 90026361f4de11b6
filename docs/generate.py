"""Writes the reference pages that follow from the code: `python docs/generate.py [--check]`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from stpe.signals import KEYS, SIGNALS

HERE = Path(__file__).resolve().parent


def signals_page() -> str:
    """docs/signals.md."""
    lines = [
        "# Signals",
        "",
        "Every table and column of a dataset. Made from `src/stpe/signals.py` by "
        "`python docs/generate.py`.",
        "",
        "Pixels are pixels of the stored frame size, x right and y down, boxes xyxy. Times are "
        "seconds on the container's presentation clock. Angles are degrees in the OpenCV camera "
        "frame (x right, y down, z forward). Every table also has `video_id`. Absent is null, "
        "never zero; the `artifacts` table says why.",
    ]
    for table in KEYS:
        lines += ["", f"## {table}", "", "| column | type | unit | what | null means |"]
        lines += ["|---|---|---|---|---|"]
        lines += [
            f"| `{s.column}`{' (key)' if s.key else ''} | {_type(str(s.type))} | {s.unit} "
            f"| {s.doc} | {s.null} |"
            for s in SIGNALS
            if s.table == table
        ]
    return "\n".join(lines) + "\n"


def _type(text: str) -> str:
    for old, new in (("item: ", ""), ("halffloat", "float16"), ("double", "float64")):
        text = text.replace(old, new)
    return re.sub(r"\bfloat\b", "float32", text)


PAGES = {"signals.md": signals_page}


def main() -> int:
    """Write the pages, or with --check say which are out of date (exit 1)."""
    stale = []
    for name, page in PAGES.items():
        path = HERE / name
        if not path.exists() or path.read_text() != page():
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(page())
    if "--check" in sys.argv and stale:
        print(f"out of date: {', '.join(stale)}; run python docs/generate.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
