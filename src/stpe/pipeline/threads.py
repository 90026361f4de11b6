"""Keeping libraries from starting threads of their own.

Parallelism here is one window a core. OpenCV and NumPy's OpenBLAS would divide each of those
windows between all cores as well, and their threads then spin while they wait for one another: a
product of two 576x384 matrices took four times the processor time on two busy cores.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import cv2
import numpy as np


def one_thread_each() -> None:
    """Have OpenCV and NumPy work in the thread that calls them, from now on in this process."""
    cv2.setNumThreads(1)
    _single_blas()


@cache
def _single_blas() -> None:
    """Nothing where NumPy came with another library than the OpenBLAS of its wheels."""
    for path in Path(np.__file__).parent.with_name("numpy.libs").glob("libscipy_openblas*"):
        library = ctypes.CDLL(str(path))
        for name in ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads"):
            if hasattr(library, name):
                getattr(library, name)(1)
                return
