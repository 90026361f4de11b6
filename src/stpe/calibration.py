"""Calibrated confidence: the tables that ship with the package, and their use on rows.

Stages think in their own, raw confidence. What is stored is the calibrated one, with the raw
beside it as `<column>_raw`. `calibration.json` says how each curve was fitted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.signals import RAW

_FILE = "calibration.json"


@dataclass(frozen=True, slots=True)
class Curve:
    """A rising function through knots, straight between them and level beyond.

    >>> float(Curve((0.0, 1.0), (0.2, 0.6)).apply(np.array([0.5]))[0])
    0.4
    """

    raw: tuple[float, ...]
    calibrated: tuple[float, ...]

    def apply(self, confidence_N: NDArray[np.floating]) -> NDArray[np.floating]:
        """Calibrated values in the type given; NaN stays NaN."""
        found = np.interp(confidence_N.astype(np.float64), self.raw, self.calibrated)
        return np.where(np.isnan(confidence_N), np.nan, found).astype(confidence_N.dtype)


@cache
def curves() -> Mapping[str, Curve]:
    """Signal (`table.column`) to its curve."""
    signals = json.loads(_text())["signals"]
    return {
        name: Curve(tuple(entry["raw"]), tuple(entry["calibrated"]))
        for name, entry in signals.items()
    }


@cache
def digest() -> str:
    """Changes whenever a stored confidence could."""
    return hashlib.sha256(_text().encode()).hexdigest()


def _text() -> str:
    return files("stpe").joinpath(_FILE).read_text(encoding="utf-8")


def calibrated(table: str, rows: pa.Table, stored: Collection[str]) -> pa.Table:
    """Rows with their confidences calibrated, and those raw ones beside them that are `stored`.

    A confidence without a curve stays as it is, and its raw column is the same. Columns of numbers
    and of lists of numbers are both mapped number by number; null stays null.
    """
    for column in rows.column_names:
        name = f"{table}.{column}"
        field, raw = rows.schema.field(column), rows[column]
        if name in curves():
            at = rows.column_names.index(column)
            parts = [_mapped(part, curves()[name]) for part in raw.chunks]
            rows = rows.set_column(at, field, pa.chunked_array(parts, field.type))
        if name + RAW in stored:
            rows = rows.append_column(pa.field(column + RAW, field.type), raw)
    return rows


def _mapped(raw: pa.Array, curve: Curve) -> pa.Array:
    if isinstance(raw, pa.ListArray):
        mask = raw.is_null() if raw.null_count else None
        offsets = raw.offsets.to_numpy()
        values = _mapped(raw.values[offsets[0] : offsets[-1]], curve)
        offsets = pa.array(offsets - offsets[0], pa.int32())
        return pa.ListArray.from_arrays(offsets, values, type=raw.type, mask=mask)
    numbers = raw.to_numpy(zero_copy_only=False)
    mask = None if not raw.null_count else np.asarray(raw.is_null())
    return pa.array(curve.apply(numbers), raw.type, mask=mask)
