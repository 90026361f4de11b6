"""WebDataset: tar shards with one sample an analysis frame."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stpe import strict_json
from stpe.dataset.export.images import jpeg
from stpe.dataset.export.part import WHOLE, Part
from stpe.dataset.export.scene import Scene, scenes
from stpe.dataset.reader import Dataset
from stpe.errors import UsageError

#: A shard is closed once it has grown past this: small enough for several workers to share what a
#: few minutes of video give.
SHARD_MB = 32.0
#: Array columns of `frames` and the column with their shape (None: a vector).
_ARRAYS = {
    "embedding": None,
    "dense": "dense_shape",
    "saliency": "saliency_shape",
    "depth": "depth_shape",
}


def write(dataset: Dataset, out: Path, part: Part = WHOLE, shard_mb: float = SHARD_MB) -> None:
    """`shard-000000.tar` and on, each of about `shard_mb` megabytes. A sample's key is
    `<video_id>-<frame index>`; its parts are
    `jpg` (the frame), `json` (its `frames` row and its `objects`), and where they exist
    `embedding.npy`, `dense.npy`, `saliency.npy` and `depth.npy` in their true shape.
    """
    if not shard_mb > 0:
        raise UsageError("a shard needs a size above 0")
    number, tar = 0, _open(out, 0)
    try:
        for scene in scenes(dataset, part):
            for key, parts in _samples(scene):
                if tar.offset > shard_mb * 1e6:
                    tar.close()
                    number += 1
                    tar = _open(out, number)
                for suffix, data in parts.items():
                    entry = tarfile.TarInfo(f"{key}.{suffix}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
    finally:
        tar.close()


def _open(out: Path, number: int) -> tarfile.TarFile:
    return tarfile.open(out / f"shard-{number:06d}.tar", "w", format=tarfile.PAX_FORMAT)


def _samples(scene: Scene) -> Iterator[tuple[str, dict[str, bytes]]]:
    names = ["frame_index", *_ARRAYS, *filter(None, _ARRAYS.values())]
    wanted = {frame.index for frame in scene.frames}
    arrays = (
        (table, n)
        for table in scene.dataset.stream("frames", scene.video_id, names)
        for n, index in enumerate(table["frame_index"].to_pylist())
        if index in wanted
    )
    for frame, image, (table, n) in zip(scene.frames, scene.images(), arrays, strict=True):
        objects = [{k: v for k, v in o.items() if k != "frame_index"} for o in frame.objects]
        facts: dict[str, Any] = {"video_id": scene.video_id, **frame.row, "objects": objects}
        sample = {"jpg": jpeg(image), "json": strict_json.dumps(facts).encode()}
        for column, shape in _ARRAYS.items():
            array = _array(table, n, column, shape)
            if array is not None:
                sample[f"{column}.npy"] = array
        yield f"{scene.video_id}-{frame.index:08d}", sample


def _array(table: pa.Table, row: int, column: str, shape: str | None) -> bytes | None:
    cell = table[column][row]
    if not cell.is_valid:
        return None
    array = cell.values.to_numpy(zero_copy_only=False)
    if shape is not None:
        array = array.reshape(table[shape][row].as_py())
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
