"""Parquet: every table as one file, the media beside them, and a card that tells Hugging Face
`datasets` which file is which: `load_dataset(path, "frames")`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stpe import strict_json
from stpe.dataset.layout import table_schema
from stpe.dataset.reader import Dataset

#: Row groups of some megabytes, so that a few frames of dense features can be read alone.
_GROUP_BYTES = 8 << 20
_FILE = pa.field("file_name", pa.string(), metadata={"doc": "The video, from this folder"})


def write(dataset: Dataset, out: Path) -> None:
    """`data/<table>.parquet`, `videos/<video_id><suffix>`, `manifest.json` and `README.md`.

    The `videos` table gets a column `file_name`. Tables without rows are left out.
    """
    (out / "data").mkdir()
    (out / "videos").mkdir()
    files: dict[str, str] = {}
    for video_id in dataset.videos:
        media = dataset.media(video_id)
        files[video_id] = f"videos/{video_id}{media.suffix}"
        shutil.copyfile(media, out / files[video_id])
    written = [table for table, rows in dataset.tables.items() if rows]
    for table in written:
        _write_table(dataset, table, files, out / "data" / f"{table}.parquet")
    manifest = {
        "videos": [{"video_id": v, "file_name": f} for v, f in files.items()],
        "tables": {t: {"file": f"data/{t}.parquet", "rows": dataset.tables[t]} for t in written},
    }
    (out / "manifest.json").write_text(strict_json.dumps(manifest, indent=1) + "\n")
    (out / "README.md").write_text(_card(written))


def _write_table(dataset: Dataset, table: str, files: dict[str, str], path: Path) -> None:
    schema = table_schema(table)
    if table == "videos":
        schema = schema.append(_FILE)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        held: list[pa.Table] = []
        for video_id in dataset.videos:
            for part in dataset.stream(table, video_id):
                if table == "videos":
                    names = pa.array([files[video_id]] * part.num_rows)
                    part = part.append_column(_FILE, names)
                held.append(part.cast(schema))
                if sum(t.nbytes for t in held) > _GROUP_BYTES:
                    _write_groups(writer, pa.concat_tables(held))
                    held.clear()
        if held:
            _write_groups(writer, pa.concat_tables(held))


def _write_groups(writer: pq.ParquetWriter, rows: pa.Table) -> None:
    each = max(1, rows.nbytes // max(rows.num_rows, 1))
    writer.write_table(rows, row_group_size=max(1, _GROUP_BYTES // each))


def _card(tables: list[str]) -> str:
    lines = ["---", "configs:"]
    for table in tables:
        lines += [f"- config_name: {table}", f"  data_files: data/{table}.parquet"]
        lines += ["  default: true"] if table == "frames" else []
    lines += ["---", "", "# Structured video", ""]
    lines += ["Tables in `data/`, original videos in `videos/`. Every column's unit, meaning and"]
    lines += ["meaning of null stand in the Parquet schema's field metadata.", ""]
    lines += ["```python", "from datasets import load_dataset"]
    lines += ['frames = load_dataset(".", "frames", split="train")', "```", ""]
    return "\n".join(lines)
