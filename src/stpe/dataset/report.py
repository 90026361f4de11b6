"""An inspection as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from stpe.dataset.inspect import Inspection
from stpe.dataset.listing import VideoLine

#: Videos that an inspection lists.
_LISTED = 20


def report(inspection: Inspection) -> RenderableType:
    """Print it with a `rich` console."""
    sizes = ", ".join(f"{name} {decimal(size)}" for name, size in inspection.bytes.items())
    head = Text(
        f"{inspection.path}\n{inspection.videos} videos, {inspection.duration_s:.1f} s; {sizes}"
    )
    parts: list[RenderableType] = [head]
    if inspection.listed:
        parts.append(videos_table(inspection.listed, _LISTED))
    parts.append(_signals(inspection))
    if inspection.samples:
        parts.append(_samples(inspection))
    if inspection.stages:
        parts.append(_stages(inspection))
    if inspection.models:
        parts.append(_models(inspection))
    parts += [Text(f"problem: {line}", style="red") for line in inspection.problems]
    parts += [Text(f"note: {line}", style="yellow") for line in inspection.notes]
    if not inspection.problems:
        parts.append(Text("health: sound", style="green"))
    return Group(*parts)


def _signals(inspection: Inspection) -> Table:
    table = Table(title="Tables and signals", title_justify="left", show_lines=True)
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("signals (share of rows with a value, where not all)")
    for name, rows in inspection.tables.items():
        held = [
            signal.split(".")[1] + ("" if share == 1 else f" {share:.0%}")
            for signal, share in inspection.signals.items()
            if signal.startswith(f"{name}.")
        ]
        if rows:
            table.add_row(name, str(rows), ", ".join(held))
    return table


def videos_table(rows: Sequence[VideoLine], limit: int | None = None) -> RenderableType:
    """Videos, a line each; with a limit the first so many, and how many more there are."""
    table = Table(box=None, pad_edge=False)
    table.add_column("video_id", no_wrap=True)
    for name in ("seconds", "size", "frames", "objects"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("source", overflow="fold")
    for row in rows[:limit]:
        seconds = "" if row.duration_s is None else f"{row.duration_s:.1f}"
        size = f"{row.width}x{row.height}" if row.width else ""
        cells = (row.video_id, seconds, size, str(row.frames), str(row.objects))
        table.add_row(*cells, escape(row.uri or ""))
    more = len(rows) - len(rows[:limit])
    return Group(table, Text(f"and {more} more: `stpe ls` lists all")) if more else table


def _samples(inspection: Inspection) -> Table:
    table = Table(title="A row of each table", title_justify="left", show_lines=True)
    table.add_column("table")
    table.add_column("values", overflow="fold")
    for name, row in inspection.samples.items():
        table.add_row(name, escape(", ".join(f"{key} {value}" for key, value in row.items())))
    return table


def _stages(inspection: Inspection) -> Table:
    table = Table(title="Stages", title_justify="left")
    for name in ("stage", "version"):
        table.add_column(name)
    for name in ("chunks", "rows", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("absent because")
    for use in inspection.stages:
        done = (str(use.chunks), str(use.rows), f"{use.seconds:.2f}") if use.chunks else ("",) * 3
        table.add_row(use.stage, use.version, *done, "; ".join(use.reasons))
    return table


def _models(inspection: Inspection) -> Table:
    table = Table(title="Models", title_justify="left")
    for name in ("role", "model", "licence", "precision", "weights sha256", "stages"):
        table.add_column(name)
    for use in inspection.models:
        stages = ", ".join(use.stages)
        table.add_row(use.role, use.model, use.licence, use.precision, use.sha256[:12], stages)
    return table
