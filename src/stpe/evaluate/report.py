"""A scorecard, or the difference of two, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stpe.evaluate.compare import Comparison, Difference
from stpe.evaluate.measure import NO_TRUTH
from stpe.evaluate.scorecard import Row, Scorecard

#: One or two figures a signal, for whoever wants the gist.
_GIST = {
    "shots.start_frame": ("F1",),
    "objects.box_xyxy": ("precision at 0.5", "recall at 0.5"),
    "objects.track_id": ("HOTA", "MOTA", "IDF1", "HOTA at chunk borders"),
    "objects.mask_rle": ("J, best instance", "F, best instance", "J, one track"),
    "motion.flow": ("EPE", "Fl outliers"),
    "motion.camera_rotation_deg": ("rotation error, median",),
    "motion.camera_translation": ("direction error, median",),
    "frames.camera_to_world": ("ATE, RMSE",),
    "objects.motion": ("macro F1", "share decided"),
    "objects.object_velocity_px_s": ("velocity error, median",),
    "events.kind": ("F1",),
    "frames.depth": ("AbsRel",),
    "frames.geometric_depth": ("AbsRel",),
    "videos.alignment": ("lag error",),
    "frames.caption_facts": ("precision", "recall"),
}


def card_lines(card: Scorecard, gist: bool = False) -> list[str]:
    """A table of the rows, or of the main ones, then why other signals have none."""
    table = [("signal", "metric", "value", "95 % interval", "baseline", "n")]
    last = ""
    for row in card.rows:
        if gist and row.metric not in _GIST.get(row.signal, ()):
            continue
        shown = "" if row.signal == last else row.signal
        last = row.signal
        table.append(
            (shown, row.metric, value(row), span(row.interval), _baseline(row), f"{row.n}")
        )
    lines = [f"scorecard of {card.uri} against {card.truth_kind} truth"]
    lines += _aligned(table, right=(2,))
    lines += [f"not scored: {names}: {why}" for names, why in reasons(card.unscored)]
    return lines


def reasons(unscored: Mapping[str, str]) -> list[tuple[str, str]]:
    """(signals, why they have no score), those for lack of truth in one, last."""
    found = [(name, why) for name, why in unscored.items() if not why.startswith(NO_TRUTH)]
    silent = [name for name, why in unscored.items() if why.startswith(NO_TRUTH)]
    return found + ([(", ".join(silent), "the truth says nothing of them")] if silent else [])


def comparison_lines(found: Comparison) -> list[str]:
    """A table of the differences, and the verdict."""
    table = [("signal and metric", "A", "B", "B - A", "95 % interval", "B is")]
    for d in found.differences:
        numbers = (number(d.a), number(d.b), number(d.difference), span(d.interval))
        table.append((f"{d.name} ({d.unit})" if d.unit != "1" else d.name, *numbers, d.verdict))
    return [*_aligned(table, right=(1, 2, 3)), _verdict(found.differences)]


def _verdict(differences: Sequence[Difference]) -> str:
    parts = []
    for verdict in ("better", "worse", "lost", "new", "same", "unknown"):
        count = sum(d.verdict == verdict for d in differences)
        if count:
            parts.append(f"{count} {verdict}")
    return "B against A: " + ", ".join(parts)


def value(row: Row) -> str:
    """The value with its unit."""
    unit = "" if row.unit == "1" else f" {row.unit}"
    return number(row.value) + unit


def number(value_: float | None) -> str:
    """Three significant digits, plainly written."""
    if value_ is None:
        return "-"
    size = abs(value_)
    if size >= 100:
        return f"{value_:.0f}"
    return f"{value_:.1f}" if size >= 10 else f"{value_:.2f}" if size >= 1 else f"{value_:.3f}"


def span(interval: tuple[float, float] | None) -> str:
    """An interval."""
    return "-" if interval is None else f"{number(interval[0])} .. {number(interval[1])}"


def _baseline(row: Row) -> str:
    if not row.baseline_name:
        return ""
    return f"{number(row.baseline)} {row.baseline_name.split(',')[0]}"


def _aligned(table: Sequence[tuple[str, ...]], right: tuple[int, ...]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
