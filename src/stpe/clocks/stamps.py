"""One time as a file holds it: a number in some unit, text with a date, or a Python date."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from stpe.clocks.units import DATES, LOCAL_DATES, SECONDS, Unit, named_unit, time_field, unit_of

_CLOCK = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d(?:[.,]\d+)?)")


@dataclass(frozen=True, slots=True)
class Stamp:
    """A number (NaN where what is there is no time), and its unit, None where nothing names it."""

    value: float
    unit: Unit | None = None


def stamp_of(value: Any, unit: Unit | None = None) -> Stamp:
    """What a value says of a time. Text with a date is Unix seconds; `h:mm:ss.f` is seconds.

    >>> stamp_of("1970-01-01T01:00:00+01:00").value, stamp_of("0:01:02.5").value
    (0.0, 62.5)
    >>> stamp_of("soon").value
    nan
    """
    if isinstance(value, bool):
        return Stamp(math.nan, unit)
    if isinstance(value, int | float):
        return Stamp(value, unit)
    if isinstance(value, Decimal):
        return Stamp(float(value), unit)
    if isinstance(value, datetime):
        return _of_date(value)
    if isinstance(value, timedelta):
        return Stamp(value.total_seconds(), SECONDS)
    if isinstance(value, time):
        seconds = value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
        return Stamp(seconds, SECONDS)
    if isinstance(value, date):
        return Stamp(math.nan, unit)
    return _of_text(value.strip(), unit) if isinstance(value, str) else Stamp(math.nan, unit)


def stamp_in(record: Mapping[str, Any], units: Mapping[str, str] | None = None) -> Stamp | None:
    """The time of a record by its usual names; None where it has none.

    Args:
        units: what the file says of its fields' units, by name.
    """
    plain = tuple(n for n, v in record.items() if not isinstance(v, (dict, list)))
    name = time_field(plain)
    if name is None:
        return None
    said = unit_of(units[name]) if units and name in units else None
    return stamp_of(record[name], said or named_unit(name))


def _of_text(text: str, unit: Unit | None) -> Stamp:
    try:
        return Stamp(int(text), unit)
    except ValueError:
        pass
    try:
        return Stamp(float(text), unit)
    except ValueError:
        pass
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = clock.groups()
        return Stamp(
            int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", ".")), SECONDS
        )
    # Python reads at most six digits of a second's fraction on some versions.
    short = re.sub(r"([.,]\d{6})\d+", r"\1", re.sub(r"^(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3", text))
    try:
        return _of_date(datetime.fromisoformat(short))
    except ValueError:
        return Stamp(math.nan, unit)


def _of_date(moment: datetime) -> Stamp:
    if moment.tzinfo is None:
        return Stamp(moment.replace(tzinfo=UTC).timestamp(), LOCAL_DATES)
    return Stamp(moment.timestamp(), DATES)
