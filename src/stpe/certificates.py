"""Certificates for people, and the alignment of one video and log without a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stpe.dataset.reader import open_dataset
from stpe.engine import Engine, Result
from stpe.pipeline.progress import Progress
from stpe.state.align import Certificate
from stpe.state.faults import faults
from stpe.state.reading import read_log
from stpe.video.opening import open_source
from stpe.video.temporary import TemporaryFolder


def measure(video: str, log: str, profile: str, progress: Progress) -> dict[str, Any]:
    """The certificate, as `Certificate.document`, of a log for a video.

    Raises:
        StpeError: the video or the log cannot be read.
    """
    if _same(video, log):
        packaged = _packaged(video)
        if packaged is not None:
            return packaged
    with TemporaryFolder() as scratch, Engine(profile) as engine:
        out = scratch / "dataset"
        engine.process(
            video,
            out,
            signals=["videos.alignment"],
            without=["transitions.cut", "transitions.gradual"],
            state=log,
            progress=progress,
        )
        stored = open_dataset(out).arrow("videos", columns=["alignment"])["alignment"][0].as_py()
    document: dict[str, Any] = json.loads(stored)
    return document


def _same(video: str, log: str) -> bool:
    try:
        return Path(video).samefile(log)
    except OSError:
        return False


def _packaged(path: str) -> dict[str, Any] | None:
    """The certificate of records that travel with their frames; None where no frame has one."""
    log = read_log(path)
    with open_source(path) as source:
        own = np.array([frame.state is not None for frame in source])
    if not own.any():
        return None
    certificate = Certificate(
        verdict="aligned",
        reason="the frames and their records are one package",
        method="package",
        lag_ms=0.0,
        drift_ppm=0.0,
        jitter_ms=None,
        interval_ms=None,
        confirmed=True,
        witness="package",
        contradictions=(),
        correlation=None,
        matched_share=round(float(own.mean()), 4),
        **faults(log),
        notes=(),
        tolerance_ms=0.0,
        rows=len(log.rows),
        frames=len(own),
        log_sha256=log.sha256,
        log_kind=log.kind,
        repairs=log.repairs,
        row_N=np.where(own, np.cumsum(own) - 1, -1),
    )
    return certificate.document()


def certificates(out: Path, result: Result) -> Iterator[str]:
    """A line for each video that was processed with a log."""
    dataset = open_dataset(out)
    for video in result.videos:
        if video.video_id is None or video.status == "failed":
            continue
        stored = dataset.arrow("videos", video.video_id, ["alignment"])["alignment"].to_pylist()
        if stored and stored[0]:
            yield f"state log: {told(json.loads(stored[0]))}"


def camera_warnings(out: Path, result: Result) -> Iterator[str]:
    """A line for each thing that speaks against `--camera` in a video that was processed."""
    dataset = open_dataset(out)
    for video in result.videos:
        if video.video_id is None or video.status == "failed":
            continue
        stored = dataset.arrow("videos", video.video_id, ["camera_check"])["camera_check"]
        for text in filter(None, stored.to_pylist()):
            for warning in json.loads(text)["warnings"]:
                yield f"warning: {video.uri}: {warning}"


def told(document: dict[str, Any]) -> str:
    """A certificate in one or a few lines."""
    if document["verdict"] == "unaligned":
        return f"unaligned: {document['reason']}"
    comma = "," if document["verdict"] == "unverified" else ""
    said = f"{document['verdict']}{comma} by {document['method']}, lag {document['lag_ms']:+.1f} ms"
    if document["interval_ms"]:
        low, high = document["interval_ms"]
        said += f" ({low:+.1f} to {high:+.1f})"
    said += f", drift {document['drift_ppm']:.0f} ppm"
    if document["jitter_ms"] is not None:
        said += f", jitter {document['jitter_ms']:.1f} ms"
    said += f", {100 * document['matched_share']:.0f} % of frames matched"
    for fault in ("dropped", "duplicated", "reordered"):
        if document[fault]["count"]:
            numbers = ", ".join(map(str, document[fault]["first"][:5]))
            said += f"; {document[fault]['count']} {fault} ({numbers}, ...)"
    notes = "".join(f"; {note}" for note in document["notes"])
    return f"{said}: {document['reason']}{notes}"
