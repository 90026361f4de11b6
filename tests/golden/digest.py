"""What a dataset holds, as a hash a column; what hashes depend on beside the code."""

import hashlib
import io
import json
import platform
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from inputs import INPUTS

from stpe import Engine, open_dataset

GOLDEN = Path(__file__).with_name("golden.json")
#: Says where the input lay.
_OF_THE_RUN = {"videos.uri"}
#: What decoding alone decides, which is the same on every machine; "" is the number of rows.
EVERYWHERE = {
    *(f"{t}.{c}" for t in ("transitions", "frames", "motion") for c in ("", "frame_index", "pts")),
    *(f"videos.{c}" for c in ("kind", "codec", "width", "height", "fps", "duration_s")),
    "videos.frame_count",
}
_LIBRARIES = ("av", "numpy", "opencv-python-headless", "openvino", "scipy", "vizdoom", "mujoco")


def made_by(engine: Engine, folder: Path, name: str) -> dict[str, dict[str, str]]:
    """Table to column to hash of the dataset made of input `name`."""
    given = INPUTS[name](folder)
    asked = {"state": given.get("state"), "image_fps": 4}
    engine.process(given["source"], folder / "ds", **asked)
    ds = open_dataset(folder / "ds")
    return {table: _columns(table, ds.arrow(table)) for table in ds.tables if table != "artifacts"}


def _columns(table: str, rows: pa.Table) -> dict[str, str]:
    shown = [c for c in rows.column_names if f"{table}.{c}" not in _OF_THE_RUN]
    return {"": str(rows.num_rows)} | {column: _hash(rows[column]) for column in shown}


def _hash(column: pa.ChunkedArray) -> str:
    buffer = io.BytesIO()
    whole = pa.table({"": column.combine_chunks()})
    with pa.ipc.new_stream(buffer, whole.schema.remove_metadata()) as stream:
        stream.write_table(whole.replace_schema_metadata(None), max_chunksize=1 << 20)
    return hashlib.sha256(buffer.getvalue()).hexdigest()[:16]


def machine() -> str:
    """Processors and libraries whose last bits differ have another one."""
    flags = ""
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        lines = cpu.read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    versions = [f"{name} {_version(name)}" for name in _LIBRARIES]
    parts = [platform.machine(), flags, *versions]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "none"


def main() -> None:
    """Write `golden.json` anew."""
    found = {}
    with Engine(profile="embedded") as engine:
        for name in INPUTS:
            with TemporaryDirectory() as folder:
                found[name] = made_by(engine, Path(folder), name)
            print(name, {table: columns[""] for table, columns in found[name].items()}, flush=True)
    GOLDEN.write_text(json.dumps({"machine": machine(), "inputs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
