"""The scorecard as one HTML page that needs nothing else: plots, calibration, worst moments."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from importlib.resources import files

from stpe.evaluate.moments import Moment
from stpe.evaluate.plots import curve, reliability_plot, strip
from stpe.evaluate.report import number, reasons, span, value
from stpe.evaluate.scorecard import Curve, Row, Scorecard, Trust


def page(card: Scorecard, moments: Mapping[str, Sequence[Moment]]) -> str:
    """The page as text. `moments` are the worst of each curve, by `signal metric`."""
    style = files("stpe.evaluate").joinpath("page.css").read_text(encoding="utf-8")
    title = html.escape(card.uri.rsplit("/", 1)[-1])
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>Scorecard: {title}</title><style>{style}</style></head><body><main>",
        _head(card, title),
        _table(card.rows),
        _curves(card, moments),
        _trust(card.trust),
        _unscored(card.unscored),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _head(card: Scorecard, title: str) -> str:
    seconds = "" if card.duration_s is None else f", {card.duration_s:.1f} s"
    beaten = [row for row in card.rows if row.baseline_gain_interval is not None]
    won = sum(row.baseline_gain_interval[0] > 0 for row in beaten if row.baseline_gain_interval)
    said = f"{won} of {len(beaten)} baselines beaten by more than chance. " if beaten else ""
    return (
        f"<header><p class='kicker'>Scorecard</p><h1>{title}</h1>"
        f"<p>{card.frame_count} frames{seconds}, video <code>{card.video_id}</code>, against "
        f"{html.escape(card.truth_kind)} truth. {said}Intervals are 95 %, by bootstrap over "
        f"{card.blocks} stretches of the video.</p></header>"
    )


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "<section><h2>Every signal</h2><div class='wide'><table><thead><tr><th>metric</th>"
        "<th class='num'>value</th><th>95 % interval</th><th></th><th>baseline</th>"
        "<th class='num'>n</th></tr></thead><tbody>"
    ]
    last = ""
    for row in rows:
        if row.signal != last:
            last = row.signal
            lines.append(f"<tr class='group'><th colspan='6'><code>{row.signal}</code></th></tr>")
        note = f"<div class='note'>{html.escape(row.note)}</div>" if row.note else ""
        arrow = "&uarr;" if row.better == "higher" else "&darr;"
        better = f"{row.better} is better"
        lines.append(
            f"<tr><td>{html.escape(row.metric)} <span class='way' title='{better}'>{arrow}</span>"
            f"{note}</td><td class='num strong'>{value(row)}</td>"
            f"<td>{span(row.interval)}</td><td>{_strip(row)}</td><td>{_baseline(row)}</td>"
            f"<td class='num' title='{html.escape(row.counted)}'>{row.n:,}</td></tr>"
        )
    return "".join(lines) + "</tbody></table></div></section>"


def _strip(row: Row) -> str:
    if row.unit != "1" or row.value is None or not 0 <= row.value <= 1:
        return ""
    return strip(row.value, row.interval, row.baseline, f"{row.metric} {number(row.value)}")


def _baseline(row: Row) -> str:
    if not row.baseline_name:
        return ""
    kind, said = "even", "not told apart"
    if row.baseline_gain_interval is not None:
        low, high = row.baseline_gain_interval
        if low > 0:
            kind, said = "good", "beaten"
        elif high < 0:
            kind, said = "bad", "not reached"
    return (
        f"{number(row.baseline)} <span class='tag {kind}'>{said}</span>"
        f"<div class='note'>{html.escape(row.baseline_name)}</div>"
    )


def _curves(card: Scorecard, moments: Mapping[str, Sequence[Moment]]) -> str:
    shown = [_one_curve(c, moments.get(f"{c.signal} {c.metric}", ()), card) for c in card.curves]
    if not any(shown):
        return ""
    return (
        "<section><h2>Error over time, and the worst moments</h2>"
        "<p class='note'>In pictures of objects, green boxes are true and orange ones were found."
        f"</p><div class='cards'>{''.join(shown)}</div></section>"
    )


def _one_curve(found: Curve, moments: Sequence[Moment], card: Scorecard) -> str:
    known = [i for i, t in enumerate(found.pts) if t is not None]
    if not known:
        return ""
    place = {i: n for n, i in enumerate(known)}
    times = [found.pts[i] or 0.0 for i in known]
    plot = curve(
        times,
        [found.error[i] for i in known],
        [place[m.position] for m in moments],
        found.unit,
        max(card.duration_s or 0.0, times[-1]),
    )
    figures = "".join(
        f"<figure><img alt='frame {m.frame}' src='data:image/jpeg;base64,"
        f"{base64.b64encode(m.jpeg).decode()}'><figcaption>{m.pts:.2f} s, frame {m.frame}: "
        f"<b>{number(m.error)}</b></figcaption></figure>"
        for m in moments
    )
    return (
        f"<article><h3><code>{found.signal}</code> {html.escape(found.metric)}</h3>"
        f"<p class='note'>{html.escape(found.unit)}, higher is worse</p>{plot}"
        f"<div class='moments'>{figures}</div></article>"
    )


def _trust(trust: Sequence[Trust]) -> str:
    if not trust:
        return ""
    cards = "".join(
        f"<article><h3><code>{t.signal}</code></h3>"
        f"<p class='note'>Right means: {html.escape(t.right)}.</p>"
        f"{reliability_plot(t.reliability)}"
        f"<p>Calibration error <b>{number(t.reliability.ece)}</b>{_before(t)} "
        f"over {t.reliability.n:,} statements</p></article>"
        for t in trust
    )
    return (
        "<section><h2>Confidence against correctness</h2><p class='note'>Across: stated "
        "confidence. Up: share that was right. On the diagonal, confidence can be taken at its "
        f"word; below it, it boasts.</p><div class='cards small'>{cards}</div></section>"
    )


def _before(trust: Trust) -> str:
    if trust.raw_ece is None or abs(trust.raw_ece - trust.reliability.ece) < 1e-6:
        return ""
    return f" ({number(trust.raw_ece)} before calibration)"


def _unscored(unscored: Mapping[str, str]) -> str:
    if not unscored:
        return ""
    items = "".join(
        f"<li><b>{html.escape(names)}</b>: {html.escape(why)}</li>"
        for names, why in reasons(unscored)
    )
    return f"<section><h2>Not scored</h2><ul>{items}</ul></section>"
