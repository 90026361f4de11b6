"""Toy stages, a clip to run them on, and the real command line with them as its registry."""

import os
import time
from pathlib import Path

import av
import numpy as np
import pyarrow as pa

from stpe.signals import schema
from stpe.stages.stage import ANALYSIS, MOTION, THUMBNAILS, Output, Stage

PAUSE_S = float(os.environ.get("TOY_PAUSE_S", "0"))


def table(name, **columns):
    types = schema(name)
    return pa.table({c: pa.array(v, types.field(c).type) for c, v in columns.items()})


class Toy(Stage):
    def process(self, window):
        time.sleep(PAUSE_S)
        return self.answer(window)


class Brightness(Toy):
    """A window a frame."""

    name = "brightness"
    grid = ANALYSIS
    writes = ("frames.embedding",)

    def answer(self, window):
        (f,) = window.core_frames
        values = [[float(f.image.mean())]]
        return Output(
            {"frames": table("frames", frame_index=[f.index], pts=[f.pts], embedding=values)}
        )


class Intervals(Toy):
    """Pairs, across chunk borders; its own grid and table."""

    name = "intervals"
    grid = MOTION
    margin = (1, 0)
    writes = ("motion.previous_frame_index", "motion.interval_s")

    def answer(self, window):
        if not window.before:
            return Output()
        a, b = window.frames
        rows = table(
            "motion",
            frame_index=[b.index],
            pts=[b.pts],
            previous_frame_index=[a.index],
            interval_s=[b.pts - a.pts],
        )
        return Output({"motion": rows})


class Things(Toy):
    """Rows of another table, none on some frames; reads what another stage made of the frame."""

    name = "things"
    grid = ANALYSIS
    length = 3
    reads = ("frames.embedding",)
    options = ("concepts",)
    writes = ("objects.pts", "objects.label", "objects.area_px")

    def answer(self, window):
        frames = window.rows["frames"]
        assert frames["frame_index"].to_pylist() == [f.index for f in window.core_frames]
        columns = [frames[c].to_pylist() for c in ("frame_index", "pts", "embedding")]
        word = self.request.concepts[0] if self.request.concepts else "thing"
        rows = [
            (index, k, pts, word, embedding[0] + k)
            for index, pts, embedding in zip(*columns, strict=True)
            for k in range(index // 5 % 3)
        ]
        names = ("frame_index", "object_id", "pts", "label", "area_px")
        return Output(
            {"objects": table("objects", **{n: [r[i] for r in rows] for i, n in enumerate(names)})}
        )


class Identities(Toy):
    """Ordered, by chunk, state carried across borders; fills a column in the reverse row order."""

    name = "identities"
    ordered = True
    length = None
    reads = ("objects.label",)
    writes = ("objects.track_id",)

    def answer(self, window):
        first = 0 if window.state is None else window.state["next"][0].as_py()
        rows = window.rows["objects"]
        count = rows.num_rows
        back = slice(None, None, -1)
        out = table(
            "objects",
            frame_index=rows["frame_index"].to_pylist()[back],
            object_id=rows["object_id"].to_pylist()[back],
            track_id=list(range(first, first + count))[back],
        )
        return Output({"objects": out}, state=pa.table({"next": [first + count]}))


class Smooth(Toy):
    """The whole chunk with context on both sides: every decoded frame."""

    name = "smooth"
    grid = THUMBNAILS
    length = None
    margin = (6, 6)
    writes = ("transitions.cut",)

    def answer(self, window):
        level = np.array([f.image.mean() for f in window.frames], np.float64)
        core = range(window.before, window.before + window.core)
        cut = [level[max(0, i - 6) : i + 7].mean() for i in core]
        frames = window.core_frames
        rows = table(
            "transitions",
            frame_index=[f.index for f in frames],
            pts=[f.pts for f in frames],
            cut=cut,
        )
        return Output({"transitions": rows})


class Shots(Toy):
    """The whole video, rows only: a shot for every 60 decoded frames."""

    name = "shots"
    scope = "video"
    length = None
    reads = ("transitions.cut",)
    writes = ("shots.start_frame", "shots.end_frame")

    def answer(self, window):
        n = window.rows["transitions"].num_rows
        starts = list(range(0, n, 60))
        rows = table(
            "shots",
            shot_id=list(range(len(starts))),
            start_frame=starts,
            end_frame=[*starts[1:], n],
        )
        return Output({"shots": rows})


class Membership(Toy):
    """A chunk stage with pixels after a whole-video one: a second pass."""

    name = "membership"
    grid = ANALYSIS
    reads = ("shots.start_frame",)
    writes = ("frames.shot_id",)

    def answer(self, window):
        (f,) = window.core_frames
        starts = window.rows["shots"]["start_frame"].to_numpy()
        shot = int(np.searchsorted(starts, f.index, "right")) - 1
        return Output(
            {"frames": table("frames", frame_index=[f.index], pts=[f.pts], shot_id=[shot])}
        )


class Summary(Toy):
    """One row for the video, from every level; depth is only used if it is there."""

    name = "summary"
    scope = "video"
    length = None
    reads = ("frames.shot_id", "objects.track_id")
    optional = ("frames.depth",)
    options = ("context",)
    writes = ("videos.summary",)

    def answer(self, window):
        frames, objects = window.rows["frames"], window.rows["objects"]
        text = f"{self.request.context}{frames.num_rows} frames, {objects.num_rows} objects"
        return Output({"videos": table("videos", summary=[text])})


class Deep(Toy):
    """Needs a model that the embedded profile lacks."""

    name = "deep"
    grid = ANALYSIS
    roles = ("captioner",)
    writes = ("frames.depth",)

    def answer(self, window):
        raise AssertionError("runs without its model")


class Fragile(Toy):
    """Fails on clips whose pixels say so (frame 30 of `write_clip(..., trap=True)`)."""

    name = "fragile"
    grid = ANALYSIS
    writes = ("frames.depth_confidence",)

    def answer(self, window):
        (f,) = window.core_frames
        if f.image[..., 0].mean() > 250:
            raise ValueError("a very white frame")
        rows = table("frames", frame_index=[f.index], pts=[f.pts], depth_confidence=[0.5])
        return Output({"frames": rows})


#: Not in the order in which they must run.
STAGES = (
    Summary,
    Membership,
    Identities,
    Things,
    Shots,
    Smooth,
    Intervals,
    Brightness,
    Deep,
    Fragile,
)


def write_clip(path: Path, seconds: float = 40, fps: int = 12, seed: int = 0, trap: bool = False):
    """A small H.264 clip of drifting gradients; returns its path."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(20, 200, int(seconds * fps))
    ramp = np.arange(64, dtype=np.uint8)[None, :, None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i, level in enumerate(levels):
            image = np.broadcast_to(ramp // 2 + np.uint8(level // 2), (48, 64, 3)).copy()
            if trap and i == 30:
                image[:] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return path


if __name__ == "__main__":
    from stpe import cli
    from stpe.stages import registry

    registry.STAGES = STAGES
    cli.main()
