"""The state logs of a dataset's videos, kept as they were given beside the videos in `media/`."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from stpe.dataset.durable import copy_file, writing
from stpe.dataset.layout import find_media, sync

_EPOCH = (1980, 1, 1, 0, 0, 0)


def keep_log(root: Path, log: str | Path) -> str:
    """Copy a log into `media/` under its content hash, once; a folder goes in as a ZIP.

    Args:
        root: the dataset folder. log: a file, or a folder with one JSON file a frame.

    Returns:
        sha256 of the copy.

    Raises:
        DatasetError: it cannot be copied.
    """
    source, folder = Path(log), root / "media"
    begun = folder / f".writing-{os.getpid()}-log"
    packed = begun.with_name(f"{begun.name}.zip")
    with writing(folder):
        folder.mkdir(exist_ok=True)
        try:
            if source.is_dir():
                _pack(source, packed)
            sha256 = copy_file(packed if source.is_dir() else source, begun)
            if find_media(root, sha256) is None:
                suffix = ".zip" if source.is_dir() else "".join(source.suffixes[-2:]).lower()
                begun.replace(folder / f"{sha256}{_safe(suffix)}")
                sync(folder)
        finally:
            begun.unlink(missing_ok=True)
            packed.unlink(missing_ok=True)
    return sha256


def _safe(suffix: str) -> str:
    """A suffix such as `.json` or `.csv.gz`; of a name like `run.1_final.json` its last part."""
    parts = [part for part in suffix.split(".") if part]
    if len(parts) == 2 and parts[1] not in ("gz", "bz2", "xz"):
        parts = parts[1:]
    return "".join(f".{part}" for part in parts)


def _pack(folder: Path, target: Path) -> None:
    """A ZIP of a folder's JSON files that is the same bytes for the same files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.json")):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
