"""Where the camera, or the figure it follows, is by a log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.state.nested import leaves

F64 = NDArray[np.float64]

#: Fields that hold a place, the camera's own before those of the figure, and what their game
#: measures lengths in, where that is known from the field alone.
_PLACES = {
    "camera_to_world": None,
    "camera.camera_to_world": None,
    "camera.position": None,
    "camera.cframe.position": "studs",
    "player.camera_position": None,
    "player.position": None,
    "hrp.position": "studs",
    "position": None,
}
_UNIT = "units of the log"


def path_of(
    states: Sequence[Mapping[str, Any] | None], units: Mapping[str, str]
) -> tuple[F64, str] | None:
    """Places, N x 3 with NaN where a state has none, and their unit; None if no field has one.

    Args:
        states: of each frame; None where none was matched.
        units: unit by field name, as the log says it.
    """
    found = places_in([{} if state is None else dict(leaves(state)) for state in states])
    if found is None:
        return None
    name, place_N3 = found
    said = units.get(name, units.get(name.rpartition(".")[2], _PLACES[name]))
    return place_N3, said or _UNIT


def places_in(flat: Sequence[Mapping[str, Any]]) -> tuple[str, F64] | None:
    """The first field that holds places, and each row's, N x 3 with NaN where it has none.

    Args:
        flat: rows by dotted name.
    """
    for name in _PLACES:
        place_N3 = np.array([_place(state.get(name)) for state in flat]).reshape(-1, 3)
        if np.isfinite(place_N3).all(axis=1).sum() >= 2:
            return name, place_N3
    return None


def _place(value: Any) -> tuple[float, float, float]:
    unknown = (math.nan, math.nan, math.nan)
    if isinstance(value, Mapping):
        value = [value.get(axis) for axis in "xyz"]
    if not isinstance(value, Sequence) or isinstance(value, str):
        return unknown
    numbers = [float(v) for v in value if isinstance(v, int | float) and math.isfinite(v)]
    if len(numbers) != len(value):
        return unknown
    if len(numbers) == 16:
        numbers = [numbers[3], numbers[7], numbers[11]]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else unknown
