"""Times of a whole file in seconds: the unit believed or told, the kind of clock, coarse stamps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from stpe.clocks.coarse import spread
from stpe.clocks.stamps import Stamp
from stpe.clocks.units import BY_SIZE, DATES, LOCAL_DATES, NANOSECONDS, SECONDS, TICKS, Unit
from stpe.errors import SourceError

Kind = Literal["unix", "relative"]

#: Seconds that are times since 1970: 1985 to 2128.
_UNIX_S = (5e8, 5e9)
#: Seconds from the zero of .NET's and of Windows' clock to that of Unix.
_DOTNET_S, _WINDOWS_S = 62_135_596_800, 11_644_473_600
#: Relative times this far apart or more are in a smaller unit: no log or image sequence that is of
#: use as video has a row in five seconds. Unix times may be, of a camera left standing.
_LONGEST_S, _LONGEST_UNIX_S = 5.0, 900.0
#: Times that are not regular must last this long to be read in a smaller unit: shorter ones may as
#: well be seconds of events far apart.
_LEAST_LASTING_S = 1.0
#: Ticks closer than this, on average, are a game's own and no 100 ns.
_LEAST_TICKS = 1000
#: No recording is longer, and no clock shows more, in seconds.
_ABSURD_S = 1e11


@dataclass(frozen=True)
class Reading:
    """Times of a file.

    Attributes:
        times: seconds, since 1970 if `kind` is unix, else from some moment; NaN where there is
            no number.
        kind: which. said: what was told rather than named, and what was changed.
    """

    times: tuple[float, ...]
    kind: Kind
    said: tuple[str, ...] = ()


def in_seconds(stamps: Sequence[Stamp], name: str) -> Reading:
    """Times in seconds.

    Args:
        stamps: in the file's order. name: of the file, for messages.

    Raises:
        SourceError: the unit is named by nothing and cannot be told, or what is named is absurd.
    """
    said: list[str] = []
    units = {s.unit for s in stamps if math.isfinite(s.value)}
    if units - {DATES, LOCAL_DATES} and units & {DATES, LOCAL_DATES}:
        raise SourceError(f"{name} mixes dates with numbers as times; write all the same way")
    said += sorted({u.note for u in units if u is not None and u.note})
    times = [math.nan] * len(stamps)
    for unit in sorted(units, key=lambda u: "" if u is None else u.word):
        at = [i for i, s in enumerate(stamps) if s.unit == unit and math.isfinite(s.value)]
        for i, seconds in zip(
            at, _scaled([stamps[i].value for i in at], unit, name, said), strict=True
        ):
            times[i] = seconds
    known = [t for t in times if math.isfinite(t)]
    kind: Kind = "unix" if known and _is_unix(median(known)) else "relative"
    if known and max(map(abs, known)) > _ABSURD_S:
        word = next((u.word for u in units if u is not None), "seconds")
        raise SourceError(
            f"{name}: its times are named {word}, and {max(known, key=abs):.4g} s is no time; name "
            "the unit they have"
        )
    even = spread(times)
    if even is not None:
        times, note = even
        said.append(note)
    return Reading(tuple(times), kind, tuple(said))


def _scaled(values: list[float], unit: Unit | None, name: str, said: list[str]) -> list[float]:
    if unit is None:
        unit = _told(values, name)
        if unit is not SECONDS:
            said.append(f"times are in {unit.word}, by their size and spacing; read as such")
        elif _step(values) >= _LONGEST_S:
            said.append("times are Unix seconds, by their size; read as such")
    if unit is not TICKS:
        return [_times(v, unit) for v in values]
    since = _since(median(values))
    if since:
        year = 1 if since == _DOTNET_S else 1601
        note = f"ticks of 100 ns since the year {year} were read as UTC"
        if note not in said:
            said.append(note)
    elif len(values) > 1 and _step(values) < _LEAST_TICKS:
        raise SourceError(
            f"{name}: ticks that are {_step(values):g} apart are not of 100 ns; give seconds as "
            "`time_s`, or another unit by its name"
        )
    return [_times(v, unit, since) for v in values]


def _times(value: float, unit: Unit, since_s: int = 0) -> float:
    """Seconds; exact for whole numbers of small units until the last step."""
    if unit.per_second > 1:
        return (value - since_s * unit.per_second) / unit.per_second
    return value * unit.seconds


def _told(values: list[float], name: str) -> Unit:
    """The unit of times that name none, by size and spacing."""
    step, middle = _step(values), median(map(abs, values))
    if _since(middle):
        return TICKS
    for unit in BY_SIZE:
        longest = _LONGEST_S if unit is NANOSECONDS else _LONGEST_UNIX_S
        if _is_unix(middle * unit.seconds) and step * unit.seconds < longest:
            return unit
    for unit in BY_SIZE:
        if step * unit.seconds < _LONGEST_S:
            break
    if unit is not SECONDS and not _is_regular(values):
        lasting = (max(values) - min(values)) * unit.seconds
        if lasting < _LEAST_LASTING_S:
            raise SourceError(
                f"{name}: times about {step:g} apart may be seconds or {unit.word}; name the unit, "
                "as in `time_s` or `time_ms`"
            )
    return unit


def _is_unix(seconds: float) -> bool:
    return _UNIX_S[0] <= seconds <= _UNIX_S[1]


def _since(ticks: float) -> int:
    """Seconds before 1970 of the zero of ticks this large; 0 for a duration."""
    for zero in (_DOTNET_S, _WINDOWS_S):
        if _is_unix(ticks / TICKS.per_second - zero):
            return zero
    return 0


def _steps(values: Sequence[float]) -> list[float]:
    return [b - a for a, b in pairwise(sorted(values)) if a != b]


def _step(values: Sequence[float]) -> float:
    steps = _steps(values)
    return median(steps) if steps else 0.0


def _is_regular(values: Sequence[float]) -> bool:
    """Whether most steps are near the usual one."""
    steps = _steps(values)
    usual = median(steps) if steps else 0.0
    near = sum(abs(s - usual) <= max(0.25 * usual, 1.0) for s in steps)
    return near >= 0.6 * len(steps)
