"""Writes the reference pages that follow from the code: `python docs/generate.py [--check]`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from stpe.cli import cli
from stpe.models.catalog import catalog
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
        "frame (x right, y down, z forward). Every table also has `video_id`. A value that could "
        "not be measured is null, never zero; the table `artifacts` says why.",
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


def cli_page() -> str:
    """docs/cli.md."""
    lines = [
        "# Command line",
        "",
        "Made from `src/stpe/cli.py` by `python docs/generate.py`.",
        "",
        "`--json` prints one JSON document on stdout and nothing else there; progress goes to "
        "stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 3 some inputs failed (the rest are "
        "whole; `stpe align` says by 1 and 3 what it found), 130 interrupted (the "
        "same call resumes).",
    ]
    for path, command in _commands(cli, "stpe"):
        context = click.Context(command, info_name=path, terminal_width=96, max_content_width=96)
        lines += ["", f"## {path}", "", "```", command.get_help(context), "```"]
    return "\n".join(lines) + "\n"


def _commands(group: click.Command, path: str) -> list[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        return [(path, group)]
    return [
        found
        for name, command in sorted(group.commands.items())
        for found in _commands(command, f"{path} {name}")
    ]


GETTING_THEM = """\
`stpe models pull --profile flagship`, or `--model role=id` for single ones, shows what it will
download and under which licences, then fetches it; interrupted, the same command goes on from
where it was. A gated repository wants its terms accepted on the hub and `HF_TOKEN` set, or
`hf auth login`. `HF_ENDPOINT` and `HF_HUB_CACHE` are honoured, and with `HF_HUB_OFFLINE=1` only
what is here is used. `--model role=PATH` takes a folder or file of your own; results are known by
what it holds, not by where it lies. `stpe models verify` hashes everything again. From a hub only
safetensors come, and no pickle is read in a way that could run code from it.

`--profile auto` takes the best profile whose device and weights are here, and says which and why.
Where a profile's model lacks a package, the one named under *instead* plays its role, and that is
said too. Copyleft models, and those whose weights are not for commercial use, are in no profile:
they run where their extra is installed and they are named."""


def models_page() -> str:
    """docs/models.md."""
    lines = [
        "# Models",
        "",
        "Made from `src/stpe/models/catalog.toml` by `python docs/generate.py`. A licence marked "
        "believed is what is generally held but not stated with the file.",
        "",
        *GETTING_THEM.splitlines(),
        "",
        "| id | role | what | licence of the weights | MB | from |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{m.id}` | {m.role} | {m.summary} | {m.licence} | {m.size_mb:.0f} "
        f"| {m.files[0].sources[0] if m.files else 'no weights'} |"
        for m in catalog().models.values()
    ]
    for name, profile in catalog().profiles.items():
        chosen = ", ".join(f"{role} `{model}`" for role, model in profile.roles.items())
        lines += ["", f"**{name}**: {profile.summary}. {chosen}."]
        if profile.instead:
            others = ", ".join(f"{role} `{model}`" for role, model in profile.instead.items())
            lines[-1] += f" Instead: {others}."
    return "\n".join(lines) + "\n"


PAGES = {"signals.md": signals_page, "cli.md": cli_page, "models.md": models_page}


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
