"""Rotation vectors and matrices (Rodrigues)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def matrix_of(vector_rad: F64) -> F64:
    """3x3 rotation of a rotation vector in radians."""
    return np.asarray(cv2.Rodrigues(np.asarray(vector_rad, np.float64).reshape(3, 1))[0])


def vector_of(matrix: F64) -> F64:
    """Rotation vector, radians, of a 3x3 rotation."""
    return np.asarray(cv2.Rodrigues(np.asarray(matrix, np.float64))[0]).reshape(3)


def nearest_rotation(matrix: F64) -> F64:
    """The rotation closest to a 3x3 matrix of any positive scale."""
    u, _, vt = np.linalg.svd(matrix if np.linalg.det(matrix) > 0 else -matrix)
    found = u @ vt
    if np.linalg.det(found) < 0:
        found = u @ np.diag([1.0, 1.0, -1.0]) @ vt
    return np.asarray(found)
