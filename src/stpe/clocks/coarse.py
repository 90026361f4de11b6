"""Stamps in whole seconds of rows that come many a second."""

from __future__ import annotations

import math
from itertools import groupby, pairwise
from statistics import median

import numpy as np

#: Runs of equal stamps, besides the first and the last, from which a rate can be told.
_LEAST_RUNS = 2
#: By how much the number of rows may differ from second to second and still be a rate.
_EVEN = 0.34


def spread(times: list[float]) -> tuple[list[float], str] | None:
    """Times spread evenly within each whole second, and the sentence that says so.

    The rows of a second lie evenly in it; those of the first and last second, which may be cut,
    keep the usual distance. Where rows come too unevenly for a rate to be told, the times stay as
    they are. None where the times are not whole seconds with several rows each.

    >>> [round(t, 2) for t in spread([7.0] + [8.0] * 4 + [9.0] * 4 + [10.0] * 2)[0]]
    [7.88, 8.12, 8.38, 8.62, 8.88, 9.12, 9.38, 9.62, 9.88, 10.12, 10.38]
    """
    known = [t for t in times if math.isfinite(t)]
    if len(known) < 3 or not all(t == int(t) for t in known) or len(set(known)) > len(known) / 2:
        return None
    even = _spread(known) if len(known) == len(times) else None
    if even is None:
        return times, "times are whole seconds with several rows each: they are known to a second"
    return even


def _spread(known: list[float]) -> tuple[list[float], str] | None:
    runs = [(second, len(list(group))) for second, group in groupby(known)]
    inner = [count for _, count in runs[1:-1]]
    if len(inner) < _LEAST_RUNS or any(b[0] <= a[0] for a, b in pairwise(runs)):
        return None
    usual = median(inner)
    even = sum(abs(count - usual) <= max(1, _EVEN * usual) for count in inner)
    if usual < 2 or even < 0.8 * len(inner) or max(runs[0][1], runs[-1][1]) > 1.5 * usual + 1:
        return None
    # Each whole second begins half a row before its first row, and ends half a row after its last.
    places: list[float] = []
    marks: list[float] = []
    first = 0
    for number, (second, count) in enumerate(runs):
        if number > 0:
            places.append(first - 0.5)
            marks.append(second)
        if number < len(runs) - 1 and runs[number + 1][0] > second + 1:
            places.append(first + count - 0.5 - 1e-6)
            marks.append(second + 1)
        first += count
    rows = np.arange(len(known), dtype=np.float64)
    even_times = np.interp(rows, places, marks)
    early, late = rows < places[0], rows > places[-1]
    even_times[early] = marks[0] + (rows[early] - places[0]) / usual
    even_times[late] = marks[-1] + (rows[late] - places[-1]) / usual
    note = (
        f"times are whole seconds with about {usual:g} rows each; the rows were spread evenly "
        "within each second"
    )
    return even_times.tolist(), note
