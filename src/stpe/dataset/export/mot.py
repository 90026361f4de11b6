"""MOTChallenge: tracked boxes as text, one sequence a video."""

from __future__ import annotations

from pathlib import Path

from stpe.dataset.export.scene import Scene, scenes
from stpe.dataset.reader import Dataset


def write(dataset: Dataset, out: Path) -> None:
    """`<sequence>.txt` (as TrackEval reads results), `<sequence>/seqinfo.ini` and `pts.txt`.

    A line is `frame,id,left,top,width,height,confidence,-1,-1,-1`. Frames are numbered from 1 in
    analysis frames, pixels from 1, as the benchmark does; `pts.txt` holds the presentation time
    of each frame, a line each. Objects without an identity are left out.
    """
    for scene in scenes(dataset):
        folder = out / scene.name
        folder.mkdir()
        (out / f"{scene.name}.txt").write_text("".join(_lines(scene)))
        (folder / "seqinfo.ini").write_text(_info(scene))
        (folder / "pts.txt").write_text("".join(f"{f.pts!r}\n" for f in scene.frames))


def _lines(scene: Scene) -> list[str]:
    lines = []
    for frame in scene.frames:
        for item in sorted(
            (o for o in frame.objects if o["track_id"] is not None), key=lambda o: o["track_id"]
        ):
            x0, y0, x1, y1 = item["box_xyxy"]
            confidence = -1.0 if item["confidence"] is None else item["confidence"]
            lines.append(
                f"{frame.number + 1},{item['track_id']},{x0 + 1:.2f},{y0 + 1:.2f},"
                f"{x1 - x0:.2f},{y1 - y0:.2f},{confidence:.4f},-1,-1,-1\n"
            )
    return lines


def _info(scene: Scene) -> str:
    width, height = scene.size
    # Readers of this file expect a whole number; pts.txt has the true times.
    rate = max(1, round(scene.fps or 1.0))
    return (
        f"[Sequence]\nname={scene.name}\nimDir=img1\nframeRate={rate}\n"
        f"seqLength={len(scene.frames)}\nimWidth={width}\nimHeight={height}\nimExt=.jpg\n"
    )
