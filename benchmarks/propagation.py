"""Masks followed through labelled clips from the first frame's mask: mean J beside two baselines.

    python benchmarks/propagation.py [FOLDER] [--clips dog,libby] [--frames N]

Clips in the layout of DAVIS 2016. The first frame, which is given, is not scored. Baselines: the
first mask copied to every frame; the mask carried by the flow model alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from stpe import Engine
from stpe.evaluate.masks import region_similarity
from stpe.models.backends.composed.mask_warp import carried
from stpe.models.roles import VideoObject, VideoPrompt


class Folder:
    """The frames of one clip, as `stpe.models.roles.VideoFrames`."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.pts = [i / 24 for i in range(len(paths))]

    def image(self, index: int) -> np.ndarray:
        return cv2.cvtColor(cv2.imread(str(self.paths[index])), cv2.COLOR_BGR2RGB)


def score_clip(
    engine: Engine, root: Path, clip: str, count: int | None, overlays: Path | None
) -> tuple[list[float], float]:
    """Mean J of (copied, warped, propagated), and processor seconds a frame."""
    paths = sorted((root / "JPEGImages/480p" / clip).glob("*.jpg"))[:count]
    labels = sorted((root / "Annotations/480p" / clip).glob("*.png"))[:count]
    truth = [cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) > 127 for p in labels]
    frames = Folder(paths)
    copied = [region_similarity(t, truth[0]) for t in truth[1:]]

    flow = engine.role("flow").flow
    warped, mask = [], truth[0].astype(np.float32)
    for i in range(1, len(paths)):
        mask = carried(mask, flow(frames.image(i), frames.image(i - 1)))
        warped.append(region_similarity(truth[i], mask > 0.5))

    session = engine.role("video_segmenter").open(frames)
    begun = time.process_time()
    session.prompt(0, VideoPrompt(mask_HW=truth[0]))
    followed = []
    for frame in session.propagate("forward"):
        found = frame.objects[0]
        if frame.index:
            followed.append(region_similarity(truth[frame.index], found.mask_HW))
        if overlays:
            draw(overlays / f"{clip}_{frame.index:03d}.jpg", frames.image(frame.index), found,
                 truth[frame.index])  # fmt: skip
    seconds = (time.process_time() - begun) / len(paths)
    session.close()
    return [float(np.mean(j)) for j in (copied, warped, followed)], seconds


def draw(path: Path, image: np.ndarray, found: VideoObject, truth: np.ndarray) -> None:
    """The mask in red over the frame, the truth's outline in green, the score."""
    picture = image[..., ::-1].copy()
    picture[found.mask_HW] = picture[found.mask_HW] // 2 + np.array([0, 0, 127], np.uint8)
    outlines, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, (0, 255, 0), 1)
    cv2.putText(picture, f"{found.score:.2f}", (8, 28), 0, 1, (255, 255, 255), 2)
    cv2.imwrite(str(path), picture)


def main() -> None:
    """Score every clip and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    davis = Path(__file__).resolve().parents[2] / "shared" / "data" / "davis2016"
    parser.add_argument("root", type=Path, nargs="?", default=davis)
    parser.add_argument("--clips", default="")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--overlays", type=Path, help="folder for pictures of every frame")
    arguments = parser.parse_args()
    names = [p.name for p in sorted((arguments.root / "JPEGImages/480p").iterdir())]
    clips = [c for c in arguments.clips.split(",") if c] or names
    if arguments.overlays:
        arguments.overlays.mkdir(parents=True, exist_ok=True)
    print(f"{'clip':<14}{'copied':>8}{'warped':>8}{'ours':>8}{'cpu s/frame':>13}")
    rows = []
    with Engine("embedded") as engine:
        for clip in clips:
            scores, seconds = score_clip(
                engine, arguments.root, clip, arguments.frames, arguments.overlays
            )
            rows.append([*scores, seconds])
            print(f"{clip:<14}" + "".join(f"{s:8.3f}" for s in scores) + f"{seconds:13.2f}",
                  flush=True)  # fmt: skip
    mean = np.mean(rows, axis=0)
    print(f"{'mean':<14}" + "".join(f"{s:8.3f}" for s in mean[:3]) + f"{mean[3]:13.2f}")


if __name__ == "__main__":
    main()
