"""What is wrong with a log's rows, by themselves: missing, double, late, irregular."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stpe.state.log import StateLog

#: Faults named one by one, of each kind.
_MOST_NAMED = 20


@dataclass(frozen=True)
class Faults:
    """Frame numbers (or row positions, without numbers) of one kind of fault, the first few."""

    count: int
    first: tuple[int, ...]


def jitter_ms(log: StateLog) -> float | None:
    """Standard deviation of the times about a regular rate; None without one."""
    if log.clock == "none" or len(log.rows) < 10:
        return None
    steps = np.diff([r.time for r in log.rows if r.time is not None])
    middle = float(np.median(steps))
    spread = 1.4826 * float(np.median(np.abs(steps - middle)))
    # Each step has the error of two rows. A log of events has no rate to be irregular about.
    return None if spread > 0.8 * middle else round(1e3 * spread / 2**0.5, 2)


def faults(log: StateLog) -> dict[str, Faults]:
    """The dropped, duplicated and reordered rows."""
    numbers = [r.frame for r in log.rows if r.frame is not None]
    if len(numbers) == len(log.rows):
        there = Counter(numbers)
        low, high = min(there), max(there)
        gaps = high - low + 1 - len(there)
        # Numbers that advance by a fixed stride, as of a log of every third frame, drop nothing.
        strides = np.diff(sorted(there))
        stride = int(np.median(strides)) if len(strides) else 1
        missing: list[int] = []
        if gaps and stride >= 1:
            wanted = np.arange(low, high + 1, stride)
            missing = np.setdiff1d(wanted, np.fromiter(there, np.int64)).tolist()
        twice = [n for n, c in there.items() if c > 1]
        late = [
            b for a, b in zip(np.maximum.accumulate(numbers), numbers[1:], strict=False) if b < a
        ]
        if not late and log.reordered_count:
            reordered = Faults(log.reordered_count, log.reordered)
        else:
            reordered = _named(late)
        return {"dropped": _named(missing), "duplicated": _named(twice), "reordered": reordered}
    clock = np.array([r.time for r in log.rows], np.float64)
    steps = np.diff(clock)
    middle = float(np.median(steps)) if len(steps) else 0.0
    jitter = jitter_ms(log)
    after: list[int] = []
    if jitter is not None and middle > 0 and log.clock != "video":
        # A gap that jitter alone can make is not called one.
        least = max(1.6 * middle, middle + 4 * 2**0.5 * jitter / 1e3)
        after = np.flatnonzero(steps > least).tolist()
    return {
        "dropped": _named([int(n) + 1 for n in after]),
        "duplicated": _named([int(n) + 1 for n in np.flatnonzero(steps == 0)]),
        "reordered": Faults(log.reordered_count, log.reordered),
    }


def _named(numbers: Sequence[int]) -> Faults:
    return Faults(len(numbers), tuple(int(n) for n in numbers[:_MOST_NAMED]))
