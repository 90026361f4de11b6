"""Exports by name. One file a format; each is a function of a dataset and a path.

An export is made beside its target under a temporary name and renamed when it is whole. An
existing file or a folder that an export made before is replaced; any other folder is not touched.
"""

from __future__ import annotations

import importlib
import inspect
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stpe.dataset.export.part import Part
from stpe.dataset.layout import local
from stpe.dataset.names import named
from stpe.dataset.reader import Dataset
from stpe.errors import DatasetError, UsageError

#: Names a folder as made by an export, so that it may be replaced.
_MARK = ".stpe-export"


@dataclass(frozen=True)
class Format:
    """One export format.

    Attributes:
        module: the file here whose `write(dataset, path, part)` does it.
        doc: what it is, in a line.
        folder: whether it makes a folder.
        whole: why it takes no --since and --until; empty where it does.
        rate: why it takes no --fps; empty where it does.
    """

    module: str
    doc: str
    folder: bool = True
    whole: str = ""
    rate: str = ""


FORMATS: dict[str, Format] = {
    "parquet": Format(
        "parquet",
        "Parquet tables and the media; loads with Hugging Face datasets",
        whole="it keeps the media whole, with every row",
        rate="it keeps every row",
    ),
    "webdataset": Format("webdataset", "tar shards, one sample an analysis frame"),
    "coco": Format("coco", "images and one JSON with boxes, RLE masks, keypoints and track ids"),
    "mot": Format("mot", "MOTChallenge text files, one sequence folder a video"),
    "video": Format("video", "annotated H.264 MP4, one file a video"),
    "sheet": Format(
        "sheet",
        "contact sheet of annotated frames, one PNG a video",
        rate="it shows nine frames, spread evenly",
    ),
    "rerun": Format("rerun_file", "Rerun recording (.rrd) of everything, to look around in", False),
    "analysis": Format("analysis", "the prototype's analysis.json, one file a video"),
}


def export(
    dataset: Dataset,
    format: str,
    out: str | Path,
    *,
    videos: Sequence[str] = (),
    since_s: float | None = None,
    until_s: float | None = None,
    fps: float | None = None,
    **options: Any,
) -> Path:
    """Write a dataset in another format.

    Args:
        dataset: from `open_dataset`.
        format: one of `FORMATS`.
        out: file or folder to make. For `video`, `sheet` and `analysis`, a path with the format's
            suffix (.mp4, .png, .json) makes that one file of a dataset with one video.
        videos: only these, by their ids or the begins of them; all by default.
        since_s, until_s: only from the one presentation time to before the other, in seconds.
        fps: at most so many frames a second; by default every analysed one, for `video` every one.
        options: what the format's `write` takes beside these.

    Returns:
        `out` as a path.

    Raises:
        UsageError: no such format, option or video, one that the format does not take, or `out`
            is an address.
        DatasetError: there is nothing to export, media are missing, or `out` is in the way.
        MissingExtraError: the format needs an extra.
    """
    if format not in FORMATS:
        raise UsageError(f"no export format is called {format!r}; there are {', '.join(FORMATS)}")
    if not dataset.videos:
        raise DatasetError(f"{dataset.path} holds no video yet: process one first")
    chosen = FORMATS[format]
    module = importlib.import_module(f"stpe.dataset.export.{chosen.module}")
    taken = list(inspect.signature(module.write).parameters)[3:]
    unknown = sorted(set(options) - set(taken))
    if unknown:
        can = f"it takes {', '.join(taken)}" if taken else "it takes none"
        raise UsageError(f"format {format} has no option {', '.join(unknown)}; {can}")
    part = Part(named(dataset, videos) if videos else None, since_s, until_s, fps)
    if chosen.whole and (since_s, until_s) != (None, None):
        raise UsageError(f"--since and --until do not apply to {format}: {chosen.whole}")
    if chosen.rate and fps is not None:
        raise UsageError(f"--fps does not apply to {format}: {chosen.rate}")
    shown = part.of(dataset)
    target = local(out)
    suffix: str | None = getattr(module, "SUFFIX", None)
    single = suffix is not None and target.suffix.lower() == suffix
    if single and chosen.folder and len(shown) > 1:
        raise UsageError(
            f"the dataset holds {len(shown)} videos: make --out a folder, or choose one by --video"
        )
    with replacing(target, folder=chosen.folder and not single) as temporary:
        if single and chosen.folder:
            module.write_one(dataset, shown[0], temporary, part, **options)
        else:
            module.write(dataset, temporary, part, **options)
    return target


@contextmanager
def replacing(target: Path, *, folder: bool) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends without error."""
    if target.is_dir() and any(target.iterdir()) and not (target / _MARK).exists():
        raise DatasetError(f"{target} is a folder with other files; choose another --out")
    if target.exists() and target.is_dir() != folder:
        raise DatasetError(f"{target} is in the way; remove it or choose another --out")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:40]}-"))
    except OSError as error:
        raise DatasetError(f"cannot write {target}: {error.strerror}; choose another") from None
    try:
        made = work / target.name
        if folder:
            made.mkdir()
            (made / _MARK).touch()
        yield made
        if target.is_dir():
            target.rename(work / "replaced")
        made.replace(target)
    except OSError as error:
        raise DatasetError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
