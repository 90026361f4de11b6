"""What was trained and measured, for people and for machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stpe.dataset.reader import open_dataset
from stpe.errors import UsageError
from stpe.models.small_torch import import_torch
from stpe.train.episodes import Episode, read_episodes
from stpe.train.gain import Gain
from stpe.train.probe import ProbeReport, probe
from stpe.train.temporal import TemporalReport, train_temporal


@dataclass(frozen=True)
class TrainReport:
    """Both measurements; each None with the reason in `skipped` where it could not be made."""

    probe: ProbeReport | None
    temporal: TemporalReport | None
    skipped: dict[str, str]

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    def markdown(self) -> str:
        """Tables with their captions."""
        parts = []
        if self.probe is not None:
            parts.append(_probe_table(self.probe))
        if self.temporal is not None:
            parts.append(_temporal_table(self.temporal))
        parts += [f"{name}: not measured, {why}." for name, why in self.skipped.items()]
        return "\n\n".join(parts) + "\n"


def train(
    datasets: Sequence[Path],
    seed: int = 0,
    weights: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TrainReport:
    """Train on the videos of some datasets, and measure on those of them that are held out.

    Args:
        datasets: dataset folders; each video is an episode. One that stands in several of them
            counts once: what is held out must not be among what was learnt from.
        seed: decides what is held out and all random numbers.
        weights: where to keep the temporal module, trained on all videos; not kept without.
        say: told what is being done.

    Raises:
        MissingExtraError: torch is not installed.
        StpeError: a dataset cannot be read, or nothing could be measured.
    """
    import_torch()
    episodes: dict[str, Episode] = {}
    for path in datasets:
        say(f"reading {path}")
        for episode in read_episodes(open_dataset(path)):
            if episode.video_id in episodes:
                say(f"{episode.name} was read before; a video counts once")
            episodes.setdefault(episode.video_id, episode)
    doubtful = [e.name for e in episodes.values() if not e.verified]
    if doubtful:
        say(
            f"warning: the state logs of {len(doubtful)} of {len(episodes)} videos are unverified "
            f"({', '.join(doubtful[:5])}): nothing in the video confirms that they are its own"
        )
    skipped: dict[str, str] = {}
    dynamics = temporal = None
    try:
        dynamics = probe(list(episodes.values()), seed, say)
    except UsageError as error:
        skipped["dynamics probe"] = str(error)
    try:
        temporal = train_temporal(list(episodes.values()), seed, weights, say)
    except UsageError as error:
        skipped["temporal module"] = str(error)
    if dynamics is None and temporal is None:
        raise UsageError("; ".join(skipped.values()))
    return TrainReport(dynamics, temporal, skipped)


def _probe_table(report: ProbeReport) -> str:
    scale = ", ".join(f"{name} {value:.3g}" for name, value in report.scale.items())
    lines = [
        f"The next second from the last: {', '.join(report.parts)} of the state log's figure. "
        f"{report.windows} windows of {report.episodes} videos, each predicted by probes that saw "
        f"none of it; errors in standard deviations ({scale}), intervals 95 % over videos.",
        "",
        f"Velocities unchanged: {report.persistence:.3f}. State alone: {report.error:.3f}, "
        f"{_shown(report.over_persistence)} less.",
    ]
    if not report.groups:
        return "\n".join([*lines, "", "There is no group of signals that all of them have."])
    lines += [
        "",
        "| signals | numbers a frame | error with state | less than state alone | most for "
        "| less than the mean, without any state |",
        "|---|---|---|---|---|---|",
    ]
    for g in report.groups:
        part, gain = max(g.parts.items(), key=lambda item: item[1])
        most = f"{part} {100 * gain:+.1f} %" if gain > 0 else ""
        lines.append(
            f"| {g.name} | {g.dimensions} | {g.error:.3f} | {_shown(g.over_state)} | {most} "
            f"| {_shown(g.alone)} |"
        )
    return "\n".join(lines)


def _temporal_table(report: TemporalReport) -> str:
    verdict = (
        "it may replace parameter-free pooling on data like this"
        if report.pays
        else "parameter-free pooling stays"
    )
    lines = [
        f"Temporal module of {report.parameters / 1e6:.1f} million parameters, trained by masked "
        f"and next-embedding prediction, measured on held-out videos ({report.episodes} videos, "
        f"{report.windows} windows of {report.seconds:.3g} s): {verdict}.",
        "",
        "| task | parameter-free | module | gain | n |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {t.name} | {t.baseline:.4f} ({t.baseline_name}) | {t.module:.4f} "
        f"| {t.gain.value:+.4f} ({t.gain.low:+.4f} to {t.gain.high:+.4f}) | {t.n} |"
        for t in report.tasks
    ]
    return "\n".join(lines)


def _shown(gain: Gain) -> str:
    mark = "**" if gain.sure else ""
    values = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    return f"{mark}{100 * gain.value:+.1f} %{mark} ({values})"
