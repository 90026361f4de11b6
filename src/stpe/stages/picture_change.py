"""A second witness of cuts, where a shot detector is out of its depth.

Two kinds of video are unlike what such a detector was trained on. On title cards, letters on an
even ground, hardly a pixel changes: a cut is told there by letters that give way to others at once,
on pictures that stand still on either side. Where a picture stays on for long, everything that
moves jumps: there a cut needs other colours as well, or pictures that stand still between jumps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.video.frame import ImageHW3

F32 = NDArray[np.float32]

#: A card stands still for so long on either side of a cut.
STILL_S = 0.4
#: Grey levels, on average, that a still picture may change by, and that as a share of its letters.
_STILL_LEVELS, _STILL_SHARE = 0.5, 0.08
#: Mean deviation from the ground, in grey levels, below which a picture is blank.
_BLANK = 0.3
#: Share of a card that is even ground, within so many grey levels.
_GROUND, _GROUND_LEVELS = 0.85, 12
#: Of what stood out before and after, shares that went and came: either, and both together.
_EITHER, _TOGETHER = 0.2, 0.75
#: Correlation at the best shift from which the letters have only moved.
_MOVED = 0.75
#: Shared colours of two pictures at and above which it is one shot, and below which it is not.
_SAME_COLOURS, _OTHER_COLOURS = 0.75, 0.45
#: A change so many times as large as those beside it is a jump between still pictures.
_JUMP = 10.0


def changes(images: Sequence[ImageHW3]) -> F32:
    """Mean absolute difference of each image from the one before, in levels; 0 for the first."""
    found = [0.0]
    found += [cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in pairwise(images)]
    return np.asarray(found, np.float32)


def card_cut(
    images: Sequence[ImageHW3], pts_N: NDArray[np.float64], change_N: F32, at: int
) -> float:
    """Probability that a title card gives way to another at frame `at`; 0 where these are no cards.

    Where the frame before is blank, the last card before that is compared.
    """
    if not at or change_N[at] <= _STILL_LEVELS / 10:
        return 0.0
    after = _letters(images[at])
    if not _card(after) or not _still(pts_N, change_N, at, after):
        return 0.0
    earlier = at - 1
    while earlier and _strength(_letters(images[earlier])) < _BLANK:
        earlier -= 1
    before = _letters(images[earlier])
    if not _card(before) or not _still_until(pts_N, change_N, earlier, before):
        return 0.0
    kept = float(np.minimum(np.abs(before), np.abs(after))[before * after > 0].sum())
    went, came = (1 - kept / float(np.abs(part).sum()) for part in (before, after))
    if min(went, came) < _EITHER or went + came < _TOGETHER or _moved(before, after):
        return 0.0
    return 0.55 + 0.4 * min((went + came - _TOGETHER) / _TOGETHER, 1.0)


def other_colours(before: ImageHW3, after: ImageHW3) -> float:
    """How surely two pictures are of different shots, by the colours they share: 0 to 1."""
    shared = float(np.minimum(_colours(before), _colours(after)).sum())
    return float(np.clip((_SAME_COLOURS - shared) / (_SAME_COLOURS - _OTHER_COLOURS), 0, 1))


def jumps(change_N: F32, at: int) -> bool:
    """Whether pictures that stand still meet at frame `at`: it changes far more than the one before
    it and the one after it, and both are there."""
    if not 1 < at < len(change_N) - 1:
        return False
    return bool(change_N[at] >= _JUMP * max(change_N[at - 1], change_N[at + 1], 0.1))


def _letters(image: ImageHW3) -> F32:
    """Grey levels above or below the ground's."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(gray - np.median(gray), np.float32)


def _strength(letters_HW: F32) -> float:
    return float(np.abs(letters_HW).mean())


def _card(letters_HW: F32) -> bool:
    ground = float((np.abs(letters_HW) < _GROUND_LEVELS).mean())
    return ground >= _GROUND and _strength(letters_HW) >= _BLANK


def _still(pts_N: NDArray[np.float64], change_N: F32, at: int, letters_HW: F32) -> bool:
    """Whether the picture at `at` stays."""
    end = int(np.searchsorted(pts_N, pts_N[at] + STILL_S))
    return bool(change_N[at + 1 : end].sum() <= _allowed(letters_HW))


def _still_until(pts_N: NDArray[np.float64], change_N: F32, last: int, letters_HW: F32) -> bool:
    """Whether the picture at `last` had stayed until then."""
    begin = int(np.searchsorted(pts_N, pts_N[last] - STILL_S))
    return bool(change_N[begin + 1 : last + 1].sum() <= _allowed(letters_HW))


def _allowed(letters_HW: F32) -> float:
    return max(_STILL_LEVELS, _STILL_SHARE * _strength(letters_HW))


def _moved(before_HW: F32, after_HW: F32) -> bool:
    product = np.fft.rfft2(before_HW) * np.conj(np.fft.rfft2(after_HW))
    best = float(np.fft.irfft2(product, before_HW.shape).max())
    return best >= _MOVED * float(np.linalg.norm(before_HW) * np.linalg.norm(after_HW))


def _colours(image: ImageHW3) -> F32:
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, [8, 16, 16], [0, 256] * 3)
    return np.asarray(counts / counts.sum(), np.float32)
