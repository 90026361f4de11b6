"""MOTChallenge: tracked boxes as text, one sequence a video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stpe.dataset.export.part import WHOLE, Part
from stpe.dataset.export.scene import Scene, scenes
from stpe.dataset.reader import Dataset
from stpe.errors import UsageError
from stpe.tracking.path import filled

#: Numbers that the benchmark gives to classes of COCO's; other labels follow its last.
_CLASSES = {"person": 1, "car": 3, "bicycle": 4, "motorcycle": 5}
_FIRST_OTHER = 14


def write(dataset: Dataset, out: Path, part: Part = WHOLE, labels: Sequence[str] = ()) -> None:
    """`<sequence>.txt` (as TrackEval reads results), `<sequence>/seqinfo.ini` and `pts.txt`, and
    `labels.txt` with a line `number name` a class.

    A line is `frame,id,left,top,width,height,confidence,class,-1,-1`, the class a number of MOT's
    (1 person) or one of `labels.txt`. Only tracks with one of `labels` are written, where given;
    TrackEval's benchmarks want `--labels person`. A track has one class, its own. Frames are
    numbered from 1 in analysis frames, pixels from 1, as the benchmark does; `pts.txt` holds the
    presentation time
    of each frame, a line each. Objects without an identity are left out. Where a track was not
    seen for at most a second, its box is interpolated, with the lower confidence of the two ends.
    """
    found = dataset.arrow("tracks", columns=["label"])["label"].unique().to_pylist()
    found += dataset.arrow("objects", columns=["label"])["label"].unique().to_pylist()
    there = sorted({str(label) for label in found if label})
    missing = sorted(set(labels) - set(there))
    if missing:
        raise UsageError(
            f"no object is called {', '.join(missing)}; there are {', '.join(there) or 'none'}"
        )
    others = [label for label in there if label not in _CLASSES]
    numbers = _CLASSES | {label: _FIRST_OTHER + n for n, label in enumerate(others)}
    shown = [label for label in there if not labels or label in labels]
    (out / "labels.txt").write_text("".join(f"{numbers[label]} {label}\n" for label in shown))
    for scene in scenes(dataset, part):
        folder = out / scene.name
        folder.mkdir()
        (out / f"{scene.name}.txt").write_text("".join(_lines(scene, numbers, set(labels))))
        (folder / "seqinfo.ini").write_text(_info(scene))
        (folder / "pts.txt").write_text("".join(f"{f.pts!r}\n" for f in scene.frames))


def _lines(scene: Scene, numbers: dict[str, int], labels: set[str]) -> list[str]:
    classes: dict[int, str] = {}
    tracks: dict[int, dict[int, dict[str, Any]]] = defaultdict(dict)
    for frame in scene.frames:
        for item in frame.objects:
            if item["track_id"] is not None:
                classes.setdefault(item["track_id"], str((item["track"] or item)["label"]))
                tracks[item["track_id"]][frame.number] = item
    rows = [
        row
        for track in sorted(tracks)
        if not labels or classes[track] in labels
        for row in _boxes(scene, track, tracks[track])
    ]
    return [
        f"{frame + 1},{track},{x0 + 1:.2f},{y0 + 1:.2f},{x1 - x0:.2f},{y1 - y0:.2f},"
        f"{confidence:.4f},{numbers[classes[track]]},-1,-1\n"
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
