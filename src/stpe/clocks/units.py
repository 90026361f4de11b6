"""Units of time, and the names by which files state them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that a file names, or that was told by size.

    Attributes:
        word: plural, for messages.
        per_second: how many make a second, where it is a whole number; else `seconds` counts.
        seconds: its length.
        note: what a reader should know of the reading; empty where there is nothing.
    """

    word: str
    seconds: float
    per_second: int = 1
    note: str = ""


SECONDS = Unit("seconds", 1.0)
MILLISECONDS = Unit("milliseconds", 1e-3, 1000)
MICROSECONDS = Unit("microseconds", 1e-6, 10**6)
NANOSECONDS = Unit("nanoseconds", 1e-9, 10**9)
#: 100 ns, as .NET and Windows count: since the year 1, since 1601, or a duration.
TICKS = Unit("ticks of 100 ns", 1e-7, 10**7)
MINUTES = Unit("minutes", 60.0)
#: Text that gives a date.
DATES = Unit("dates", 1.0)
LOCAL_DATES = Unit("dates", 1.0, note="dates without a time zone were read as UTC")

BY_SIZE = (SECONDS, MILLISECONDS, MICROSECONDS, NANOSECONDS)

_WORDS = {
    SECONDS: ("s", "sec", "secs", "second", "seconds"),
    MILLISECONDS: ("ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"),
    MICROSECONDS: ("us", "µs", "μs", "usec", "usecs", "micro", "micros", "microsecond",
                   "microseconds"),
    NANOSECONDS: ("ns", "nsec", "nsecs", "nano", "nanos", "nanosecond", "nanoseconds"),
    TICKS: ("ticks", "filetime"),
    MINUTES: ("minutes",),
}  # fmt: skip
_UNIT_OF = {word: unit for unit, words in _WORDS.items() for word in words}
#: Unit words that name a row's time by themselves. `ms` alone may be how long a frame took.
_ALONE = frozenset(
    ("seconds", "millis", "milliseconds", "micros", "microseconds", "nanos", "nanoseconds")
) | frozenset(_WORDS[TICKS])

#: What a row's time is called, best first.
_TIMES = ("timestamp", "time", "t", "ts", "pts", "datetime", "utc", "elapsed")
_GLUED = re.compile(rf"(timestamp|time|ts)({'|'.join(sorted(_UNIT_OF, key=len, reverse=True))})")
_BETWEEN = frozenset(("in", "since", "start", "epoch", "unix", "utc", "time", "stamp", "system"))


def unit_of(word: str) -> Unit | None:
    """The unit that a word or symbol means; None if it means none.

    >>> unit_of("ms").word, unit_of("metres")
    ('milliseconds', None)
    """
    return _UNIT_OF.get(word.strip(" []()").lower())


def named_unit(name: str) -> Unit | None:
    """The unit that the name of a field or column states; None where it states none.

    >>> [u and u.word for u in map(named_unit, ("timestamp_ns", "timeMs", "#t [us]", "time"))]
    ['nanoseconds', 'milliseconds', 'microseconds', None]
    """
    parts = _parts(name)
    if parts == ["pts", "time"]:  # as ffprobe calls it
        return SECONDS
    return next((_UNIT_OF[p] for p in reversed(parts) if p in _UNIT_OF), None)


def is_time(name: str) -> bool:
    """Whether a field or column of that name holds the time of its row.

    >>> [is_time(n) for n in ("timestampMs", "time [s]", "frame_time_ms", "start_time", "ticks")]
    [True, True, False, False, True]
    """
    return _rank(name) is not None


@lru_cache(maxsize=256)
def time_field(names: tuple[str, ...]) -> str | None:
    """Of the names of a row's fields, the one that holds its time; None if none does.

    Of fields that are called the same but for a unit, the one that names it is taken.
    """
    ranked = [(rank, name) for name in names if (rank := _rank(name)) is not None]
    return min(ranked, key=lambda item: item[0])[1] if ranked else None


def _rank(name: str) -> tuple[int, bool] | None:
    parts = _parts(name)
    if not parts or parts[0] == "start":
        return None
    if parts == ["pts", "time"]:
        return _TIMES.index("pts"), False
    words = [p for p in parts if p not in _UNIT_OF]
    named = len(words) < len(parts)
    if not words:
        return (len(_TIMES), False) if len(parts) == 1 and parts[0] in _ALONE else None
    head = next((p for p in words if p in _TIMES), None)
    if head is None and named and set(words) & {"unix", "epoch"}:
        head = "timestamp"
    if head is None or not set(words) <= {*_TIMES, *_BETWEEN}:
        return None
    return _TIMES.index(head), not named


def _parts(name: str) -> list[str]:
    """Words of a name, in lower case, parted at signs and capitals."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    parts: list[str] = []
    for part in re.split(r"[^\wµμ]+|_+", apart.lower()):
        glued = _GLUED.fullmatch(part)
        parts += [part] if glued is None or part in _TIMES else list(glued.groups())
    joined = [p for p in parts if p]
    return ["timestamp", *joined[2:]] if joined[:2] == ["time", "stamp"] else joined
