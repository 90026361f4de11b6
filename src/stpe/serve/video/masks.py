"""Masks that clients send: COCO compressed RLE, read without trusting it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.serve.failures import InvalidInputError

_LONGEST_RUN = 8  # characters of one run length: 40 bits


def read_mask(size: tuple[int, int], counts: str, height: int, width: int) -> NDArray[np.bool_]:
    """The mask, which must be height x width and whose runs must fill it exactly.

    pycocotools writes past the mask's end where the runs are too long, so it is not given these.

    Raises:
        InvalidInputError: it is not such a mask.

    >>> read_mask((2, 2), "13", 2, 2)
    array([[False,  True],
           [ True,  True]])
    """
    if size != (height, width):
        raise InvalidInputError(
            f"the mask is {size[0]} high and {size[1]} wide, the frame {height} and {width}"
        )
    pixels = height * width
    # Together the runs take no more characters than pixels; only the first may be empty.
    if len(counts) > pixels + 1:
        raise InvalidInputError("the mask's counts are longer than a mask of its size can have")
    runs = _runs(counts, pixels)
    total = int(runs.sum())
    if total != pixels:
        raise InvalidInputError(f"the mask's runs fill {total} pixels, not {pixels}")
    values = (np.arange(len(runs)) % 2).astype(np.bool_)
    return np.asarray(np.repeat(values, runs).reshape(width, height).T)


def _runs(counts: str, pixels: int) -> NDArray[np.int64]:
    """Run lengths: 5 bits a character from the least, and from the third run on a difference to
    the run before the last."""
    codes = np.frombuffer(counts.encode("ascii", "replace"), np.uint8) - np.uint8(48)
    last = np.flatnonzero((codes & 32) == 0)
    lengths = np.diff(last, prepend=-1)
    whole = counts.isascii() and len(last) and last[-1] == len(codes) - 1
    if not whole or codes.max() > 63 or lengths.max() > _LONGEST_RUN:
        raise InvalidInputError("the mask's counts are not COCO compressed RLE")
    runs = np.zeros(len(last), np.int64)
    for at in range(int(lengths.max())):
        has = lengths > at
        part = codes[(last - lengths + 1 + at)[has]].astype(np.int64) & 31
        runs[has] |= part << (5 * at)
    negative = (codes[last] & 16) != 0
    runs[negative] -= np.int64(1) << (5 * lengths[negative])
    if np.abs(runs).max() <= pixels:  # so that the sums cannot overflow
        for first in (1, 2):
            runs[first::2] = np.cumsum(runs[first::2])
    if runs.min() < 0 or runs.max() > pixels:
        raise InvalidInputError(f"the mask's counts hold a run that is not of 0 to {pixels} pixels")
    return runs
