"""MOTChallenge: tracked boxes as text, one sequence a video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stpe.dataset.export.scene import Scene, scenes
from stpe.dataset.reader import Dataset
from stpe.tracking.path import filled


def write(dataset: Dataset, out: Path) -> None:
    """`<sequence>.txt` (as TrackEval reads results), `<sequence>/seqinfo.ini` and `pts.txt`.

    A line is `frame,id,left,top,width,height,confidence,-1,-1,-1`. Frames are numbered from 1 in
    analysis frames, pixels from 1, as the benchmark does; `pts.txt` holds the presentation time
    of each frame, a line each. Objects without an identity are left out. Where a track was not
    seen for at most a second, its box is interpolated, with the lower confidence of the two ends.
    """
    for scene in scenes(dataset):
        folder = out / scene.name
        folder.mkdir()
        (out / f"{scene.name}.txt").write_text("".join(_lines(scene)))
        (folder / "seqinfo.ini").write_text(_info(scene))
        (folder / "pts.txt").write_text("".join(f"{f.pts!r}\n" for f in scene.frames))


def _lines(scene: Scene) -> list[str]:
    tracks: dict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
    for frame in scene.frames:
        for item in frame.objects:
            if item["track_id"] is not None:
                tracks[item["track_id"]][frame.number] = item
    rows = [row for track in sorted(tracks) for row in _boxes(scene, track, tracks[track])]
    return [
        f"{frame + 1},{track},{x0 + 1:.2f},{y0 + 1:.2f},{x1 - x0:.2f},{y1 - y0:.2f},"
        f"{confidence:.4f},-1,-1,-1\n"
        for frame, track, (x0, y0, x1, y1), confidence in sorted(rows, key=lambda row: row[:2])
    ]


def _boxes(
    scene: Scene, track: int, seen: dict[int, dict[str, Any]]
) -> Iterator[tuple[int, int, list[float], float]]:
    """Frame, track, box and confidence: those seen, then those between."""
    trust = {n: -1.0 if o["confidence"] is None else o["confidence"] for n, o in seen.items()}
    for number, item in seen.items():
        yield number, track, item["box_xyxy"], trust[number]
    pts = np.array([frame.pts for frame in scene.frames])
    numbers = np.array(list(seen))
    boxes = np.array([item["box_xyxy"] for item in seen.values()], np.float64)
    between, filling = filled(pts, pts[numbers], boxes)
    for number, box in zip(between.tolist(), filling.tolist(), strict=True):
        after = int(np.searchsorted(numbers, number))
        yield number, track, box, min(trust[int(n)] for n in numbers[after - 1 : after + 1])


def _info(scene: Scene) -> str:
    width, height = scene.size
    # Readers of this file expect a whole number; pts.txt has the true times.
    rate = max(1, round(scene.fps or 1.0))
    return (
        f"[Sequence]\nname={scene.name}\nimDir=img1\nframeRate={rate}\n"
        f"seqLength={len(scene.frames)}\nimWidth={width}\nimHeight={height}\nimExt=.jpg\n"
    )
