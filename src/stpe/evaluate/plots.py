"""Small plots as inline SVG. Colours are the page's CSS variables, so they follow its theme."""

from __future__ import annotations

import html
from collections.abc import Sequence

from stpe.evaluate.reliability import Reliability


def strip(
    value: float, interval: tuple[float, float] | None, baseline: float | None, label: str
) -> str:
    """A share between 0 and 1: a dot on its interval, and a tick for the baseline."""
    width, height = 150, 16

    def x(share: float) -> float:
        return 4 + (width - 8) * min(max(share, 0.0), 1.0)

    parts = [_line(x(0), 8, x(1), 8, "axis")]
    if interval is not None:
        low, high = interval
        parts.append(
            f'<rect class="span" x="{x(low):.1f}" y="5" width="{max(1.0, x(high) - x(low)):.1f}" '
            'height="6" rx="3"/>'
        )
    if baseline is not None:
        parts.append(_line(x(baseline), 1, x(baseline), 15, "base"))
    parts.append(f'<circle class="dot" cx="{x(value):.1f}" cy="8" r="3.5"/>')
    return _svg(width, height, parts, label)


def curve(
    times_s: Sequence[float],
    errors: Sequence[float],
    marked: Sequence[int],
    unit: str,
    end_s: float,
) -> str:
    """Error over time; `marked` are positions of the worst moments."""
    width, height, left, right, bottom, top = 460, 150, 52, 20, 22, 14
    high = max(max(errors), 1e-9) * 1.05

    def x(seconds: float) -> float:
        return left + (width - left - right) * seconds / max(end_s, 1e-9)

    def y(error: float) -> float:
        return height - bottom - (height - bottom - top) * error / high

    parts = []
    for share in (0.0, 0.5, 1.0):
        level = share * high / 1.05
        parts.append(_line(left, y(level), width - right, y(level), "grid"))
        parts.append(_text(left - 6, y(level) + 4, _tick(level), "end"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        seconds = share * end_s
        parts.append(_text(x(seconds), height - 6, f"{seconds:.3g} s", "middle"))
    points = [(x(t), y(e)) for t, e in zip(times_s, errors, strict=True)]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    if len(points) > 1:
        parts.append(f'<polyline class="curve" points="{path}"/>')
    parts += [
        f'<circle class="dot small" cx="{px:.1f}" cy="{py:.1f}" r="1.6"/>'
        for px, py in points
        if len(points) <= 60
    ]
    parts += [
        f'<circle class="worst" cx="{points[i][0]:.1f}" cy="{points[i][1]:.1f}" r="5"/>'
        for i in marked
    ]
    return _svg(width, height, parts, f"error over time, {unit}")


def reliability_plot(found: Reliability) -> str:
    """Accuracy against confidence: the diagonal is honest. Dot areas show how many."""
    side, left, bottom, top = 220, 34, 26, 14

    def x(share: float) -> float:
        return left + (side - left - 8) * share

    def y(share: float) -> float:
        return side - bottom - (side - bottom - top) * share

    parts = []
    for share in (0.0, 0.5, 1.0):
        parts.append(_line(x(0), y(share), x(1), y(share), "grid"))
        parts.append(_text(left - 6, y(share) + 4, f"{share:g}", "end"))
        parts.append(_text(x(share), side - 10, f"{share:g}", "middle"))
    parts.append(_line(x(0), y(0), x(1), y(1), "axis dashed"))
    most = max(b.n for b in found.bins)
    points = [(x(b.confidence), y(b.accuracy)) for b in found.bins]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    if len(points) > 1:
        parts.append(f'<polyline class="curve" points="{path}"/>')
    parts += [
        f'<circle class="dot" cx="{px:.1f}" cy="{py:.1f}" r="{3 + 6 * (b.n / most) ** 0.5:.1f}">'
        f"<title>{b.n} with confidence {b.confidence:.2f}: {b.accuracy:.0%} right</title></circle>"
        for (px, py), b in zip(points, found.bins, strict=True)
    ]
    return _svg(side, side, parts, "accuracy against confidence")


def _tick(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _line(x0: float, y0: float, x1: float, y1: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _svg(width: int, height: int, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">{"".join(parts)}</svg>'
    )
