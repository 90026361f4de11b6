"""Truth of our own simulators; `stpe.simulate.truth_files` says what is in the files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stpe.errors import TruthError
from stpe.evaluate.labels.parts import Parts
from stpe.evaluate.rigid_flow import rigid_flow, stays_visible
from stpe.evaluate.shots import Transition
from stpe.evaluate.truth import (
    Contact,
    DepthReader,
    FlowReader,
    MaskHW,
    Truth,
    TruthFrame,
    TruthObject,
)
from stpe.geometry.intrinsics import Intrinsics
from stpe.rle import decode_mask
from stpe.simulate.truth_files import VERSION

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: Short-lived effects and the player's own weapon: not things that a detector should report.
_NOT_THINGS = frozenset({"Self", "Gibs", "SFX", "BulletPuff"})
#: Visible share of the picture below which an object is not asked for.
SMALLEST = 0.0003
#: Depth is true where its coarseness is at most this share of it.
_SURE_SHARE = 0.1
#: Flow is true where the coarseness of the depth leaves it uncertain by no more than this, px.
_SURE_PX = 0.5


def read_simulator(folder: Path) -> Truth:
    """Read `folder`, the one with `truth.json`.

    Raises:
        TruthError: a file is missing, damaged or of another version.
    """
    facts = _facts(folder / "truth.json")
    try:
        scale = 1.0 / float(facts["units_per_metre"] or 1.0)
        names = ("fx", "fy", "cx", "cy")
        camera = Intrinsics(*(float(facts["intrinsics"][name]) for name in names))
        size = int(facts["width"]), int(facts["height"])
        frames = {r["frame_index"]: _frame(r, camera, scale) for r in _rows(folder, "frames")}
        seen = _rows(folder, "objects")
        identities = _identities(seen)
        objects = _objects(seen, frames, identities, size, scale)
        contacts = _contacts(folder, frames, identities)
        depth, step = _depth(folder / "depth", facts.get("depth"), scale, objects)
    except (KeyError, TypeError, ValueError) as error:
        raise TruthError(f"{folder} is damaged ({error!r}): record it again") from None
    starts = [i for i, f in frames.items() if i > 0 and frames[i - 1].segment != f.segment]
    truth = Truth(
        "simulator",
        folder,
        *size,
        frame_count=int(facts["frames"]),
        frames=frames,
        objects=objects,
        depth=depth,
        transitions=tuple(Transition(i, i) for i in starts),
        contacts=contacts,
        metric=bool(facts["units_per_metre"]),
        log_units_per_metre=facts["units_per_metre"] or None,
        log_lag_ms=0.0,
    )
    if len(frames) != truth.frame_count:
        raise TruthError(
            f"{folder / 'frames.parquet'} has {len(frames)} frames and truth.json says "
            f"{truth.frame_count}: record it again"
        )
    known = (folder / "parts.parquet").exists()
    parts = Parts(_rows(folder, "parts"), scale) if known else None
    flow = None if depth is None else _flow(truth, depth, step, parts)
    return Truth(**{**vars(truth), "flow": flow})


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        version = facts["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TruthError(f"{path} cannot be read ({error!r}): record it again") from None
    if version != VERSION:
        raise TruthError(f"{path} has version {version} and this reads {VERSION}: record it again")
    return dict(facts)


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / f"{name}.parquet"
    try:
        return list(pq.read_table(path).to_pylist())
    except (OSError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise TruthError(f"{path} cannot be read ({what}): record it again") from None


def _frame(row: dict[str, Any], camera: Intrinsics, scale: float) -> TruthFrame:
    state = {k: v for k, v in row.items() if k not in ("frame_index", "pts", "camera_to_world")}
    pose = np.array(row["camera_to_world"], np.float64).reshape(4, 4)
    pose[:3, 3] *= scale
    return TruthFrame(float(row["pts"]), pose, camera, state, int(row.get("episode") or 0))


def _identities(rows: list[dict[str, Any]]) -> dict[tuple[int, int], int]:
    """(episode, object_id) to an identity that is never reused."""
    keys = sorted({(row.get("episode") or 0, row["object_id"]) for row in rows})
    return {key: number for number, key in enumerate(keys, start=1)}


def _objects(
    rows: list[dict[str, Any]],
    frames: Mapping[int, TruthFrame],
    identities: Mapping[tuple[int, int], int],
    size: tuple[int, int],
    scale: float,
) -> dict[int, tuple[TruthObject, ...]]:
    found: dict[int, list[TruthObject]] = {index: [] for index in frames}
    for row in rows:
        found[row["frame_index"]].append(
            TruthObject(
                identities[row.get("episode") or 0, row["object_id"]],
                row["label"],
                _four(row["box_xyxy"]),
                row["mask_rle"],
                _three(row["position"], scale),
                _three(row["velocity"], scale),
                row.get("moving"),
                ignored=bool({row["category"], row["label"]} & _NOT_THINGS)
                or row["area_px"] < SMALLEST * size[0] * size[1],
            )
        )
    return {index: tuple(objects) for index, objects in found.items()}


def _contacts(
    folder: Path,
    frames: Mapping[int, TruthFrame],
    identities: Mapping[tuple[int, int], int],
) -> tuple[Contact, ...] | None:
    """Touching pairs; identity 0 is the immovable scene, or something never in view."""
    if not (folder / "contacts.parquet").exists():
        return None
    found = []
    for row in _rows(folder, "contacts"):
        episode = frames[row["frame_index"]].segment
        pair = [identities.get((episode, row[name]), 0) for name in ("object_a", "object_b")]
        found.append(Contact(row["frame_index"], (pair[0], pair[1]), row["force_n"]))
    return tuple(found)


def _depth(
    folder: Path,
    facts: Mapping[str, Any] | None,
    scale: float,
    objects: Mapping[int, tuple[TruthObject, ...]],
) -> tuple[DepthReader | None, float]:
    """The reader, and the coarseness of its values in metres."""
    if facts is None or not folder.is_dir():
        return None, 0.0
    step, offset = scale * float(facts["step"]), scale * float(facts["offset"])
    saturated = int(facts["saturated"])

    @lru_cache(maxsize=4)  # neighbouring intervals share a frame
    def read(index: int) -> tuple[F32, MaskHW] | None:
        path = folder / f"{index:06d}.png"
        if not path.exists():
            return None
        steps_HW = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if steps_HW is None:
            raise TruthError(f"{path} is not an image: record it again")
        depth_HW = (step * steps_HW + offset).astype(np.float32)
        known = (steps_HW < saturated) & (step / 2 <= _SURE_SHARE * depth_HW)
        for item in objects.get(index, ()):
            if item.position is None and item.mask_rle is not None:
                known &= ~decode_mask(item.mask_rle)  # drawn onto the screen, at no depth
        return depth_HW, np.asarray(known)

    return read, step


def _flow(truth: Truth, depth: DepthReader, step: float, parts: Parts | None) -> FlowReader:
    """Flow of what stays visible, made when asked for: of what stands still, and of the rigid
    parts of what moves where the simulator knows them."""

    def read(first: int, second: int, points_N2: F64) -> tuple[F32, MaskHW] | None:
        move = truth.camera_step(first, second)
        a, b = depth(first), depth(second)
        camera = truth.frames[first].intrinsics if first in truth.frames else None
        if move is None or a is None or b is None or camera is None:
            return None
        lens: Intrinsics = camera
        x, y = np.floor(points_N2).astype(np.int64).T
        here, later = a[0][y, x], np.where(b[1], b[0], 0)
        flow_N2 = np.zeros(points_N2.shape, np.float32)
        known_N = a[1][y, x]

        def follow(at_N: MaskHW, way_44: F64) -> None:
            points, z = points_N2[at_N], here[at_N]
            near, _ = rigid_flow(points, np.maximum(z - step / 2, 1e-3), way_44, lens)
            far, _ = rigid_flow(points, z + step / 2, way_44, lens)
            flow_N2[at_N], z_N = rigid_flow(points, z, way_44, lens)
            with np.errstate(invalid="ignore"):
                sure = np.linalg.norm(near - far, axis=1) <= _SURE_PX
            seen = stays_visible(points + flow_N2[at_N], z_N, later, 2 * step)
            known_N[at_N] &= sure & seen

        resting = np.ones(len(points_N2), np.bool_)
        for inside, way in () if parts is None else _ways(truth, parts, first, second, points_N2):
            resting &= ~inside
            if way is None:
                known_N[inside] = False
            else:
                follow(inside, way)
        follow(resting, move)
        known_N[resting] &= ~_restless(truth, first, a[1].shape)[y, x][resting]
        return flow_N2, known_N

    return read


def _ways(
    truth: Truth, parts: Parts, first: int, second: int, points_N2: F64
) -> Iterator[tuple[MaskHW, F64 | None]]:
    poses = [truth.frames[i].camera_to_world_44 for i in (first, second)]
    assert poses[0] is not None
    assert poses[1] is not None
    return parts.steps(first, second, points_N2, poses[0], poses[1])


def _restless(truth: Truth, index: int, shape: tuple[int, ...]) -> MaskHW:
    """Pixels of whatever is not known to stand still, and their edges."""
    found = np.zeros(shape, np.bool_)
    for item in (truth.objects or {}).get(index, ()):
        if item.moving is not False and item.mask_rle is not None:
            found |= decode_mask(item.mask_rle)
    grown = cv2.dilate(found.astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(grown, np.bool_)


def _three(values: list[float] | None, scale: float) -> tuple[float, float, float] | None:
    if values is None:
        return None
    x, y, z = (scale * v for v in values)
    return x, y, z


def _four(values: list[float]) -> tuple[float, float, float, float]:
    a, b, c, d = (float(v) for v in values)
    return a, b, c, d
