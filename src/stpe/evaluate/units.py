"""The unit that geometry is in, against the truth's."""

from __future__ import annotations

from stpe.evaluate.truth import Truth


def units_per_metre(unit: str | None, truth: Truth) -> float | None:
    """How many of a dataset's `frames.geometric_unit` a metre has; None where nothing says so."""
    if unit == "metres":
        return 1.0
    if unit in (None, "relative", "units of --camera"):
        return None
    return truth.log_units_per_metre
