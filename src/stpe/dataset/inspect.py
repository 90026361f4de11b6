"""What is inside a dataset: counts, signals, provenance and health."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from stpe.dataset.columns import SHAPES
from stpe.dataset.layout import find_media
from stpe.dataset.listing import VideoLine, list_videos, sample
from stpe.dataset.reader import Dataset
from stpe.errors import DatasetError
from stpe.signals import SIGNALS, TABLES

#: Heavy columns whose nulls are counted in the small column beside them, which is null with them.
_COUNTED_IN = {
    name: shape for name, shape in SHAPES.items() if shape == f"{name.split('.')[1]}_shape"
}


@dataclass(frozen=True)
class StageUse:
    """One stage over all videos: how often, how long, or why not."""

    stage: str
    version: str
    chunks: int
    rows: int
    seconds: float
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ModelUse:
    """One model that some stage ran."""

    role: str
    model: str
    sha256: str
    licence: str
    precision: str
    stages: list[str]


@dataclass(frozen=True)
class Inspection:
    """Everything `stpe inspect` says.

    Attributes:
        path: the dataset folder.
        videos: number of sealed videos.
        duration_s: seconds of video.
        tables: rows of every table.
        signals: share of rows (0..1) that hold a value, for every signal that has any.
        stages, models: provenance.
        bytes: size of `tables`, `media` and `artifacts`.
        listed: the videos; samples: a row from the middle of each table, without values too long to
            read. Neither where there are problems.
        problems: what makes the dataset less than whole; empty if it is sound.
        notes: what is not wrong, but good to know.
    """

    path: str
    videos: int
    duration_s: float
    tables: dict[str, int]
    signals: dict[str, float]
    stages: list[StageUse]
    models: list[ModelUse]
    bytes: dict[str, int]
    listed: list[VideoLine]
    samples: dict[str, dict[str, Any]]
    problems: list[str]
    notes: list[str]

    def json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def inspect(dataset: Dataset) -> Inspection:
    """Look through a dataset. Damage is reported in `problems`, not raised."""
    problems: list[str] = []
    tables, signals = _tables(dataset, problems)
    stages, models = _provenance(dataset) if tables["artifacts"] else ([], [])
    notes: list[str] = []
    _check_videos(dataset, tables, problems)
    _check_files(dataset, tables, notes)
    return Inspection(
        path=str(dataset.path),
        videos=len(dataset.videos),
        duration_s=_seconds(dataset) if tables["videos"] else 0.0,
        tables=tables,
        signals=signals,
        stages=stages,
        models=models,
        bytes={name: _bytes(dataset.path / name) for name in ("tables", "media", "artifacts")},
        listed=[] if problems else list_videos(dataset),
        samples={} if problems else {t: sample(dataset, t) for t, rows in tables.items() if rows},
        problems=problems,
        notes=notes,
    )


def _seconds(dataset: Dataset) -> float:
    return float(pc.sum(dataset.arrow("videos", columns=["duration_s"])["duration_s"]).as_py() or 0)


def _tables(dataset: Dataset, problems: list[str]) -> tuple[dict[str, int], dict[str, float]]:
    counts: dict[str, int] = {}
    shares: dict[str, float] = {}
    for table in TABLES:
        try:
            counts[table] = dataset.rows.count(table)
            for known in SIGNALS:
                if known.table == table and counts[table]:
                    column = _COUNTED_IN.get(known.name, known.column)
                    nulls = dataset.rows.nulls(table, column)
                    if nulls < counts[table]:
                        shares[known.name] = 1 - nulls / counts[table]
        except DatasetError as error:
            counts[table] = 0
            problems.append(str(error))
    return counts, shares


def _provenance(dataset: Dataset) -> tuple[list[StageUse], list[ModelUse]]:
    stages: dict[tuple[str, str], list[dict[str, Any]]] = {}
    models: dict[tuple[str, ...], set[str]] = {}
    for row in dataset.arrow("artifacts").to_pylist():
        stages.setdefault((row["stage"], row["version"] or ""), []).append(row)
        for model in row["models"] or ():
            key = tuple(model[n] or "" for n in ("role", "model", "sha256", "licence", "precision"))
            models.setdefault(key, set()).add(row["stage"])
    uses = [
        StageUse(
            stage,
            version,
            chunks=sum(r["key"] is not None for r in rows),
            rows=sum(r["rows"] or 0 for r in rows),
            seconds=round(sum(r["seconds"] or 0.0 for r in rows), 3),
            reasons=sorted({r["reason"] for r in rows if r["reason"] is not None}),
        )
        for (stage, version), rows in sorted(stages.items())
    ]
    return uses, [
        ModelUse(role, model, sha256, licence, precision, sorted(stage))
        for (role, model, sha256, licence, precision), stage in sorted(models.items())
    ]


def _check_videos(dataset: Dataset, tables: dict[str, int], problems: list[str]) -> None:
    sealed = set(dataset.videos)
    for table, rows in tables.items():
        if rows:
            strangers = sorted(set(dataset.rows.spans(table)) - sealed)
            if strangers:
                problems.append(f"{table} has rows of unknown videos: {_some(strangers)}")
    if not tables["videos"]:
        if sealed:
            problems.append(f"videos has no rows, yet {len(sealed)} videos are sealed")
        return
    known = dataset.arrow("videos", columns=["video_id", "sha256"]).to_pylist()
    without = sorted(sealed - {row["video_id"] for row in known})
    if without:
        problems.append(f"sealed videos without a row in videos: {_some(without)}")
    lost = [r["video_id"] for r in known if find_media(dataset.path, r["sha256"] or "?") is None]
    if lost:
        problems.append(f"media are missing for {_some(lost)}: put the files back into media/")


def _check_files(dataset: Dataset, tables: dict[str, int], notes: list[str]) -> None:
    ahead = [t for t in dataset.manifest.tables if dataset.rows.newest(t) is not None
             and dataset.rows.newest(t) != dataset.manifest.tables[t]]  # fmt: skip
    if ahead:
        notes.append(
            f"{', '.join(ahead)}: versions past the pinned ones, of a writer at work or "
            "interrupted; they do not count and the next writer removes them"
        )
    keys: set[str] = set()
    if tables["artifacts"]:
        keys = set(dataset.arrow("artifacts", columns=["key"])["key"].to_pylist())
    files = list((dataset.path / "artifacts").glob("*/*.arrow"))
    loose = [path for path in files if path.stem not in keys]
    if loose:
        size = sum(path.stat().st_size for path in loose)
        notes.append(
            f"{len(loose)} artifacts ({size} bytes) belong to no sealed video: of unfinished or "
            "earlier runs; a later run may use them"
        )
    hashes = set()
    if tables["videos"]:
        known = dataset.arrow("videos", columns=["sha256", "state_sha256"])
        hashes = {*known["sha256"].to_pylist(), *known["state_sha256"].to_pylist()}
    media = (dataset.path / "media").glob("[!.]*")
    strays = sorted(path.name for path in media if path.name.split(".")[0] not in hashes)
    if strays:
        notes.append(f"media of no sealed video: {_some(strays)}")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
