"""How well a log goes with what was seen in a video, at every lag between the two.

A channel is one series seen in the video, such as how far the picture shifted sideways, with one
or two curves of the log that explain it: the picture shifts when the camera turns and when it
steps aside. At each lag the series is regressed on what the curves say of each interval, and the
share explained is R squared. The gain, and for turns its sign, is free: logs differ in unit and
in which way is positive. Channels are combined as independent evidence: their log likelihood
ratios against "unrelated" add.

All lags are looked at together by Fourier transforms (masked normalised cross-correlation,
Padfield, IEEE TIP 2012, with the regression's sums beside it).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stpe.state.motion import Curve

F64 = NDArray[np.float64]

#: Seconds between the lags of the first search.
COARSE_S = 0.025
#: Share of the known motion that a lag must cover.
LEAST_SHARE = 0.5
#: What is seen is clipped to this percentile of its size, and what is told likewise, so that a few
#: wrong intervals do not decide.
CLIP_PERCENTILE = 97.0
#: Deviation of a rate, over its root mean square, from which it says when it happened.
LEAST_CHANGE = 0.35
_RIDGE = 1e-3


@dataclass(frozen=True)
class Channel:
    """A series seen in intervals of the video, and the curves of the log that explain it.

    Attributes:
        starts_N, ends_N: seconds of the video. seen_N: clipped.
        curves: the first is what the channel is named for. signed: whether the first curve must
            go the same way as what is seen.
        count: independent intervals of what is seen and told, about.
        apart: if not 0, changes are compared: each interval less the one so many before.
    """

    starts_N: F64
    ends_N: F64
    seen_N: F64
    curves: tuple[Curve, ...]
    signed: bool
    count: float = 0.0
    apart: int = 0

    @property
    def span(self) -> tuple[float, float]:
        """Seconds of the log that all curves cover."""
        first = max(float(curve.times_N[0]) for curve in self.curves)
        return first, min(float(curve.times_N[-1]) for curve in self.curves)

    def part(self, first: int, end: int) -> Channel:
        """The intervals from the first to before the end."""
        return replace(
            self,
            starts_N=self.starts_N[first:end],
            ends_N=self.ends_N[first:end],
            seen_N=self.seen_N[first:end],
        )

    def told(self, lag: float) -> tuple[NDArray[np.bool_], F64]:
        """Which intervals the log covers at a lag, and what each curve (K) says of those."""
        first, last = self.span
        inside = (self.starts_N + lag >= first) & (self.ends_N + lag <= last)
        return inside, self._read(self.starts_N[inside] + lag, self.ends_N[inside] + lag)

    def _read(self, starts: F64, ends: F64) -> F64:
        told = [
            clipped(
                np.interp(ends, c.times_N, c.values_N) - np.interp(starts, c.times_N, c.values_N)
            )
            for c in self.curves
        ]
        return np.array(told).reshape(len(self.curves), len(starts))

    def sharpened(self) -> Channel:
        """Of changes of motion from one span to the next.

        Flow follows how near things are as well as how the camera moves; that changes slowly, and
        would draw a peak to one side.
        """
        step = float(np.median(np.diff(self.starts_N)))
        return replace(
            self, apart=max(1, round(float(np.median(self.ends_N - self.starts_N)) / step))
        )

    def r(self, lag: float) -> float:
        """Multiple correlation; NaN where the log covers too little or one side is constant."""
        inside, told_KN = self.told(lag)
        if told_KN.shape[1] < max(8, LEAST_SHARE * len(inside)) + self.apart:
            return math.nan
        a, b = self._centred(inside, told_KN)
        return float(_multiple(a @ a, b @ a, b @ b.T, self.signed))

    def fitted(self, lag: float) -> tuple[F64, F64]:
        """What was seen where the log covers it, and the log's account of it."""
        a, b = self._centred(*self.told(lag))
        gram = b @ b.T
        return a, np.linalg.solve(gram + _ridge(gram), b @ a) @ b

    def _centred(self, inside: NDArray[np.bool_], told_KN: F64) -> tuple[F64, F64]:
        seen = self.seen_N[inside]
        if self.apart:
            seen = seen[self.apart :] - seen[: -self.apart]
            told_KN = told_KN[:, self.apart :] - told_KN[:, : -self.apart]
        return seen - seen.mean(), told_KN - told_KN.mean(axis=1, keepdims=True)

    def all_lags(self, low: float, high: float) -> tuple[F64, F64]:
        """Multiples of COARSE_S from low to high, and R there; NaN where too little is covered."""
        steps = np.arange(math.floor(low / COARSE_S), math.ceil(high / COARSE_S) + 1)
        found = np.full(len(steps), np.nan)
        middles = (self.starts_N + self.ends_N) / 2
        half = float(np.median(self.ends_N - self.starts_N)) / 2
        origin = middles[0]
        place = np.round((middles - origin) / COARSE_S).astype(int)
        count = np.bincount(place).astype(np.float64)
        seen = np.bincount(place, self.seen_N) / np.maximum(count, 1)
        begins, ends = self.span
        first = max(math.ceil((begins + half - origin) / COARSE_S), int(steps[0]))
        last = math.floor((ends - half - origin) / COARSE_S)
        last = min(last, len(seen) - 1 + int(steps[-1]))
        at = origin + COARSE_S * np.arange(first, last + 1)
        if len(at) >= 8:
            mask = (count > 0).astype(np.float64)
            r = _masked(seen, mask, self._read(at - half, at + half), self.signed)
            # Entry 0 has the seen's last interval on the told's first.
            entry = steps - (first - len(seen) + 1)
            inside = (entry >= 0) & (entry < len(r))
            found[inside] = r[entry[inside]]
        return np.asarray(COARSE_S * steps, np.float64), found

    def counted(self, lag: float) -> Channel:
        """With the number of independent intervals at a lag (Bartlett's formula).

        They are at most as many as fit beside each other: intervals may overlap.
        """
        a, b = self.fitted(lag)
        step = float(np.median(np.diff(self.starts_N))) if len(self.starts_N) > 1 else 0.0
        share = min(step / float(np.median(self.ends_N - self.starts_N)), 1.0)
        total, n = 1.0, len(a)
        for k in range(1, n // 4):
            ra, rb = _auto(a, k), _auto(b, k)
            if ra <= 0 or rb <= 0:
                break
            total += 2 * ra * rb
        return replace(self, count=min(n / total, n * share))


def clipped(values: F64) -> F64:
    """Limited to a high percentile of its size."""
    if not len(values):
        return values
    limit = np.percentile(np.abs(values), CLIP_PERCENTILE)
    return np.clip(values, -limit, limit) if limit > 0 else values


def changes(values_N: F64) -> bool:
    """Whether motion begins, ends or reverses: an even one looks the same at every lag."""
    rms = math.sqrt(float((values_N**2).mean())) if len(values_N) else 0.0
    return rms > 0 and float(values_N.std()) > LEAST_CHANGE * rms


def evidence(channels: list[Channel], r_CL: F64) -> F64:
    """Log likelihood ratio in nats at each lag, of the channels that cover it."""
    counts = np.array([channel.count for channel in channels])
    explained = np.minimum(np.nan_to_num(r_CL) ** 2, 0.9999)
    return np.asarray(-0.5 * counts @ np.log1p(-explained))


def joint_r(channels: list[Channel], nats: F64) -> F64:
    """The correlation that one channel of all their intervals would need for that evidence."""
    total = sum(channel.count for channel in channels)
    return np.sqrt(-np.expm1(-2 * nats / max(total, 1e-9)))


def _auto(values: F64, k: int) -> float:
    centred = values - values.mean()
    norm = float(centred @ centred)
    return float(centred[:-k] @ centred[k:]) / norm if norm > 0 else 0.0


def _ridge(gram_KK: F64) -> F64:
    diagonal = np.diagonal(gram_KK, axis1=-2, axis2=-1)
    return (_RIDGE * diagonal + 1e-12)[..., None] * np.eye(gram_KK.shape[-1])


def _multiple(seen: F64, both_K: F64, gram_KK: F64, signed: bool) -> F64:
    """Multiple correlation from centred sums, which may have leading axes."""
    weight_K = np.linalg.solve(gram_KK + _ridge(gram_KK), both_K[..., None])[..., 0]
    explained = (weight_K * both_K).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.sqrt(np.clip(explained / seen, 0.0, 1.0))
    return np.where(signed & (weight_K[..., 0] < 0), 0.0, r) if signed else r


def _masked(seen_N: F64, mask_N: F64, told_KM: F64, signed: bool) -> F64:
    """Multiple correlation of every overlap of what was seen, where its mask is one, with the told.

    Entry k is that of the seen's end on the told's start plus k; NaN with too little overlap or no
    change.
    """
    size = 1 << (len(seen_N) + told_KM.shape[1] - 1).bit_length()
    length = len(seen_N) + told_KM.shape[1] - 1

    def over(x: F64, y: F64) -> F64:
        product = np.fft.rfft(x[::-1], size) * np.fft.rfft(y, size)
        return np.asarray(np.fft.irfft(product, size)[..., :length])

    # Centred first: the sums below are differences of large numbers.
    a = (seen_N - seen_N[mask_N > 0].mean()) * mask_N
    b = told_KM - told_KM.mean(axis=1, keepdims=True)
    n = np.round(over(mask_N, np.ones(b.shape[1])))
    enough = n >= max(8.0, LEAST_SHARE * mask_N.sum())
    many = np.maximum(n, 1.0)
    sum_a, sum_b = over(a, np.ones(b.shape[1])), over(mask_N, b)
    spread_a = over(a * a, np.ones(b.shape[1])) - sum_a**2 / many
    both = over(a, b) - sum_a * sum_b / many
    products = over(mask_N, b[:, None] * b[None]) - sum_b[:, None] * sum_b[None] / many
    floor_a, floor_b = 1e-9 * float(a @ a), 1e-9 * float((b * b).sum())
    good = enough & (spread_a > floor_a) & (np.trace(products) > floor_b)
    r = np.full(length, np.nan)
    gram = np.moveaxis(products[:, :, good], -1, 0)
    r[good] = _multiple(spread_a[good], both[:, good].T, gram, signed)
    return r
