"""Parquet: every table as one file, the media beside them, and a card that tells Hugging Face
`datasets` which file is which: `load_dataset(path, "frames")`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.parquet as pq

from stpe import strict_json
from stpe.dataset.export.part import WHOLE, Part
from stpe.dataset.layout import table_schema
from stpe.dataset.reader import Dataset
from stpe.signals import SIGNALS

#: Row groups of some megabytes, so that a few frames of dense features can be read alone.
_GROUP_BYTES = 8 << 20
_REMOTE = ("http", "https", "s3", "rtsp", "rtmp", "udp", "gs")
_FILE = pa.field("file_name", pa.string(), metadata={"doc": "The video, from this folder"})


def write(dataset: Dataset, out: Path, part: Part = WHOLE, local_paths: bool = False) -> None:
    """`data/<table>.parquet`, `videos/<video_id><suffix>`, `manifest.json` and `README.md`.

    The `videos` table gets a column `file_name`; its `uri` is the file's name alone, or an address
    without what may be secret in it, unless `local_paths` asks for it as it was given.
    Tables without rows are left out.
    """
    (out / "data").mkdir()
    (out / "videos").mkdir()
    files: dict[str, str] = {}
    for video_id in part.of(dataset):
        media = dataset.media(video_id)
        files[video_id] = f"videos/{video_id}{media.suffix}"
        shutil.copyfile(media, out / files[video_id])
    counts = {table: _count(dataset, table, files) for table in dataset.tables}
    written = {table: rows for table, rows in counts.items() if rows}
    for table in written:
        _write_table(dataset, table, files, out / "data" / f"{table}.parquet", local_paths)
    manifest = {
        "videos": [{"video_id": v, "file_name": f} for v, f in files.items()],
        "tables": {t: {"file": f"data/{t}.parquet", "rows": n} for t, n in written.items()},
    }
    (out / "manifest.json").write_text(strict_json.dumps(manifest, indent=1) + "\n")
    (out / "README.md").write_text(_card(dataset, written, files), encoding="utf-8")


def _count(dataset: Dataset, table: str, videos: Iterable[str]) -> int:
    spans = dataset.rows.spans(table)
    return sum(spans.get(video_id, (0, 0))[1] for video_id in videos)


def _write_table(
    dataset: Dataset, table: str, files: dict[str, str], path: Path, local_paths: bool
) -> None:
    schema = table_schema(table)
    if table == "videos":
        schema = schema.append(_FILE)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        held: list[pa.Table] = []
        for video_id in files:
            for part in dataset.stream(table, video_id):
                if table == "videos":
                    names = pa.array([files[video_id]] * part.num_rows)
                    part = part.append_column(_FILE, names)
                    if not local_paths:
                        uris = [public(uri) for uri in part["uri"].to_pylist()]
                        place = part.schema.get_field_index("uri")
                        field = part.schema.field("uri")
                        part = part.set_column(place, field, pa.array(uris, pa.string()))
                held.append(part.cast(schema))
                if sum(t.nbytes for t in held) > _GROUP_BYTES:
                    _write_groups(writer, pa.concat_tables(held))
                    held.clear()
        if held:
            _write_groups(writer, pa.concat_tables(held))


def _write_groups(writer: pq.ParquetWriter, rows: pa.Table) -> None:
    each = max(1, rows.nbytes // max(rows.num_rows, 1))
    writer.write_table(rows, row_group_size=max(1, _GROUP_BYTES // each))


def public(uri: str | None) -> str | None:
    """What may be told of where a source was.

    >>> public("/home/me/films/a.mp4"), public("https://me:pw@host/a.mp4?key=1")
    ('a.mp4', 'https://host/a.mp4')
    """
    if uri is None:
        return None
    parts = urlsplit(uri)
    if parts.scheme.lower() in _REMOTE and parts.hostname:
        port = f":{parts.port}" if parts.port else ""
        return urlunsplit((parts.scheme, parts.hostname + port, parts.path, "", ""))
    return uri.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def _card(dataset: Dataset, tables: Mapping[str, int], videos: Iterable[str]) -> str:
    lines = ["---", "license: unknown", "task_categories:", "- video-classification", "configs:"]
    for table in tables:
        lines += [f"- config_name: {table}", f"  data_files: data/{table}.parquet"]
        lines += ["  default: true"] if table == "frames" else []
    lines += ["---", "", "# Structured video", ""]
    lines += ["Tables in `data/`, original videos in `videos/`. Every column's unit, meaning and"]
    lines += ["meaning of null stand in the Parquet schema's field metadata.", ""]
    lines += ["```python", "from datasets import load_dataset"]
    lines += ['frames = load_dataset(".", "frames", split="train")', "```", ""]
    lines += ["## Licence", "", "The videos keep the licence of their owners, which this export"]
    lines += ["does not know: state it in `license` above before you publish. What the models made"]
    lines += ["is under the terms of their weights.", "", "## Models", ""]
    lines += [*_models(dataset, videos), "", "## Columns", ""]
    lines += ["A column is listed where any row has a value.", ""]
    for table in tables:
        lines += [f"### {table}: {tables[table]} rows", ""]
        lines += ["| column | unit | what | null means |", "|---|---|---|---|"]
        lines += [
            f"| {s.column} | {s.unit} | {s.doc} | {s.null} |"
            for s in SIGNALS
            if s.table == table and dataset.rows.nulls(table, s.column) < dataset.tables[table]
        ]
        lines += [""]
    return "\n".join(lines)


def _models(dataset: Dataset, videos: Iterable[str]) -> list[str]:
    used = sorted({
        (m["role"], m["model"], m["licence"] or "not stated", m["sha256"] or "")
        for video_id in videos
        for models in dataset.arrow("artifacts", video_id, ["models"])["models"].to_pylist()
        for m in models or ()
    })  # fmt: skip
    if not used:
        return ["No model was used."]
    head = ["| role | model | licence of the weights | weights sha256 |", "|---|---|---|---|"]
    return head + [f"| {role} | {model} | {lic} | {sha[:12]} |" for role, model, lic, sha in used]
