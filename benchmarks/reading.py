"""Random clips a second: from `Dataset.clips`, from Parquet, and from the MP4, in one run.

    python benchmarks/reading.py [--clips 60] [--seconds 120]

Builds a dataset of synthetic 720p videos with embeddings and dense features of the default
profile's size, then reads the same random clips of 16 analysis frames each way. Figures are
ratios to `Dataset.clips`; the page cache is warm for all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stpe.dataset import Dataset, DatasetWriter, open_dataset
from stpe.dataset.export import export
from stpe.signals import schema

WIDTH, HEIGHT, RATE, STEP, LENGTH = 1280, 720, 24, 12, 16
DENSE = (18, 32, 384)
SIGNALS = ["frames.embedding", "frames.dense"]


def make_video(path: Path, seconds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(0, 255, (45, 80, 3), np.uint8), (WIDTH + 512, HEIGHT))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(seconds * RATE):
            left = number % 512
            image = np.ascontiguousarray(ground[:, left : left + WIDTH])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def frames(seconds: int, seed: int) -> Iterator[pa.RecordBatch]:
    rng = np.random.default_rng(seed)
    target = schema("frames", ["embedding", "dense", "dense_shape", "shot_id"])
    for number in range(0, seconds * RATE, STEP):
        row = {
            "frame_index": number,
            "pts": number / RATE,
            "shot_id": 0,
            "embedding": rng.normal(size=DENSE[2]).astype(np.float32),
            "dense": rng.normal(size=int(np.prod(DENSE))).astype(np.float16),
            "dense_shape": list(DENSE),
        }
        columns = [pa.array([row[field.name]], field.type) for field in target]
        yield pa.RecordBatch.from_arrays(columns, schema=target)


def build(root: Path, seconds: int) -> Dataset:
    with DatasetWriter(root / "ds") as writer:
        for seed in range(2):
            clip = root / f"{seed}.mp4"
            make_video(clip, seconds, seed)
            sha256 = hashlib.sha256(clip.read_bytes()).hexdigest()
            writer.add_media(sha256, clip)
            facts = {"uri": clip.name, "sha256": sha256, "kind": "file", "width": WIDTH,
                     "height": HEIGHT, "fps": float(RATE), "warnings": []}  # fmt: skip
            video = pa.RecordBatch.from_pylist([facts], schema=schema("videos", facts))
            writer.commit(sha256[:16], "plan", {"videos": [video], "frames": frames(seconds, seed)})
    return open_dataset(root / "ds")


def from_parquet(path: Path) -> Callable[[str, list[int]], Any]:
    """Only the row groups that hold the clip are read, found by their statistics."""
    file = pq.ParquetFile(path)
    groups = []
    for number in range(file.num_row_groups):
        rows = file.read_row_group(number, columns=["video_id", "frame_index"])
        groups.append((set(zip(*(c.to_pylist() for c in rows.columns), strict=True)), number))

    def read(video_id: str, indices: list[int]) -> Any:
        wanted = {(video_id, i) for i in indices}
        numbers = [n for keys, n in groups if keys & wanted]
        rows = file.read_row_groups(numbers, columns=["video_id", "frame_index", "embedding",
                                                      "dense"])  # fmt: skip
        inside = pc.and_(
            pc.equal(rows["video_id"], video_id),
            pc.is_in(rows["frame_index"], pa.array(indices)),
        )
        rows = rows.filter(inside).combine_chunks()
        dense = rows["dense"].combine_chunks().flatten().to_numpy().reshape(-1, *DENSE).copy()
        embedding = rows["embedding"].combine_chunks().flatten().to_numpy()
        return dense, embedding.reshape(len(dense), -1).copy()

    return read


def from_mp4(media: dict[str, Path]) -> Callable[[str, list[int]], Any]:
    """OpenCV: seek to the first frame, then read on."""
    captures = {video: cv2.VideoCapture(str(path)) for video, path in media.items()}

    def read(video_id: str, indices: list[int]) -> Any:
        capture = captures[video_id]
        capture.set(cv2.CAP_PROP_POS_FRAMES, indices[0])
        images = []
        for number in range(indices[0], indices[-1] + 1):
            capture.grab()
            if number in indices:
                images.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
        return np.stack(images)

    return read


def rate(read: Callable[[int], Any], order: list[int]) -> float:
    """Clips a second of wall time, after a first read that opens what must be open."""
    read(order[0])
    started = time.perf_counter()
    for number in order:
        read(number)
    return len(order) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seconds", type=int, default=120, help="length of each of two videos")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = build(Path(folder), options.seconds)
        clips = dataset.clips(SIGNALS, LENGTH)
        pixels = dataset.clips([], LENGTH, pixels=True)
        order = np.random.default_rng(0).integers(0, len(clips), options.clips).tolist()
        keys = {}
        for number in order:
            clip = clips[number]
            keys[number] = clip["video_id"], np.asarray(clip["frame_index"]).tolist()
        parquet = from_parquet(
            export(dataset, "parquet", Path(folder) / "pq") / "data" / "frames.parquet"
        )
        mp4 = from_mp4({video: dataset.media(video) for video in dataset.videos})
        for number in order[:5]:
            dense, embedding = parquet(*keys[number])
            np.testing.assert_array_equal(dense, np.asarray(clips[number]["frames.dense"]))
            np.testing.assert_array_equal(embedding, np.asarray(clips[number]["frames.embedding"]))
        few = order[: max(4, len(order) // 6)]
        rates = {
            "clips: embedding + dense": rate(clips.__getitem__, order),
            "parquet: embedding + dense": rate(lambda n: parquet(*keys[n]), order),
            "clips: 720p pixels": rate(pixels.__getitem__, few),
            "mp4 by OpenCV: 720p pixels": rate(lambda n: mp4(*keys[n]), few),
        }
    ours = rates["clips: embedding + dense"]
    document = {
        "clips_per_s": {name: round(value, 2) for name, value in rates.items()},
        "signals_over_parquet": round(ours / rates["parquet: embedding + dense"], 2),
        "signals_over_mp4": round(ours / rates["mp4 by OpenCV: 720p pixels"], 2),
        "pixels_over_mp4": round(
            rates["clips: 720p pixels"] / rates["mp4 by OpenCV: 720p pixels"], 2
        ),
        "clip": {"frames": LENGTH, "dense": DENSE, "fps": RATE / STEP},
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
