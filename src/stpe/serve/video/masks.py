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
    runs = _runs(counts)
    if sum(runs) != height * width:
        raise InvalidInputError(f"the mask's runs fill {sum(runs)} pixels, not {height * width}")
    values = (np.arange(len(runs)) % 2).astype(np.bool_)
    return np.asarray(np.repeat(values, runs).reshape(width, height).T)


def _runs(counts: str) -> list[int]:
    """Run lengths: 5 bits a character from the least, and from the third run on a difference to
    the run before the last."""
    runs: list[int] = []
    at = 0
    while at < len(counts):
        value = shift = 0
        while True:
            code = ord(counts[at]) - 48 if at < len(counts) else -1
            if not 0 <= code < 64 or shift == _LONGEST_RUN:
                raise InvalidInputError("the mask's counts are not COCO compressed RLE")
            value |= (code & 31) << (5 * shift)
            at, shift = at + 1, shift + 1
            if not code & 32:
                break
        if code & 16:
            value -= 1 << (5 * shift)
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            raise InvalidInputError("the mask's counts hold a run of negative length")
        runs.append(value)
    return runs
