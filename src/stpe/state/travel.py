"""How far a log says the camera went ahead and aside, as accumulated distances.

A place alone does not tell it: the way the camera looks is needed too. Poses and view vectors give
that exactly. An angle leaves open which way is zero and which way it grows; both are taken from
how the player moves, which is mostly ahead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: Steps longer than this many times the usual are jumps of the game (a player put elsewhere).
_JUMP = 6.0
#: Mean alignment of steps with an angle from which the angle is one of the direction of motion.
_LEAST_AHEAD = 0.4


def by_looks(place_N3: F64, look_N3: F64) -> F64:
    """Distance ahead and to one side, accumulated, N x 2, by unit vectors of where one looks.

    The up axis is the one along which the view vectors vary least from zero.
    """
    step_N3 = _steps(place_N3)
    up = int(np.abs(look_N3).mean(axis=0).argmin())
    side_N3 = np.cross(look_N3, np.eye(3)[up])
    return _summed(step_N3, look_N3, side_N3)


def by_angle(place_N3: F64, angle_N: F64) -> F64 | None:
    """The same by an angle in radians; None if motion does not go with the angle."""
    step_N3 = _steps(place_N3)
    flat = np.sort(np.abs(step_N3).sum(axis=0).argsort()[1:])
    step_N = step_N3[:, flat[0]] + 1j * step_N3[:, flat[1]]
    total = float(np.abs(step_N).sum())
    if not total > 0:
        return None
    turned_N = np.exp(1j * np.array([[1.0], [-1.0]]) * angle_N)
    ahead = (step_N * turned_N.conj()).sum(axis=1)
    best = int(np.abs(ahead).argmax())
    if np.abs(ahead[best]) < _LEAST_AHEAD * total:
        return None
    own_N = step_N * turned_N[best].conj() * np.exp(-1j * np.angle(ahead[best]))
    return np.cumsum(np.stack([own_N.real, own_N.imag], axis=1), axis=0)


def _steps(place_N3: F64) -> F64:
    """Each row's way since the row before, without jumps."""
    step_N3 = np.diff(place_N3, axis=0, prepend=place_N3[:1])
    length_N = np.linalg.norm(step_N3, axis=1)
    usual = float(np.percentile(length_N, 90))
    step_N3[length_N > _JUMP * usual] = 0.0
    return step_N3


def _summed(step_N3: F64, ahead_N3: F64, side_N3: F64) -> F64:
    both = [(step_N3 * axis_N3).sum(axis=1) for axis_N3 in (ahead_N3, side_N3)]
    return np.cumsum(np.stack(both, axis=1), axis=0)
