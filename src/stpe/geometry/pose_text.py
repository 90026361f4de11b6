"""Poses in text with a quaternion a line: TUM's order, or the order that a header names.

Sources: Sturm et al., "A Benchmark for the Evaluation of RGB-D SLAM Systems", IROS 2012
(`time tx ty tz qx qy qz qw`); Burri et al., "The EuRoC micro aerial vehicle datasets", IJRR 2016
(a header, `q_RS_w` first, times in ns).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.clocks.reading import Reading, in_seconds
from stpe.clocks.stamps import stamp_of
from stpe.clocks.units import named_unit, time_field
from stpe.errors import SourceError

F64 = NDArray[np.float64]

TUM = ("timestamp", "tx", "ty", "tz", "qx", "qy", "qz", "qw")
_TURN = re.compile(r"(?:q|quat|quaternion|rot|rotation|orientation)_?(?:[a-z]+_)?([wxyz])")
_PLACE = re.compile(r"(?:t|p|pos|position|trans|translation)?_?(?:[a-z]+_)*([xyz])")
#: Turns within 52 degrees of none, if the first number were w. Many paths begin without a turn.
_W_FIRST = 0.9


@dataclass(frozen=True)
class PoseLines:
    """Camera-to-world poses. `clock`: their times. `said`: what was taken for what."""

    clock: Reading
    poses_N44: F64
    said: tuple[str, ...]


def read_pose_lines(text: str, name: str, declared: bool = False) -> PoseLines | None:
    """Poses of lines with a time, a place and a quaternion; None where the text has none.

    Args:
        name: of the file, for messages.
        declared: whether somebody said that lines without a header are in TUM's order.

    Raises:
        SourceError: the quaternions are not in the order that is taken, or have no unit length.
    """
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    rows = [_parts(line) for line in lines if line and not line.startswith("#")]
    comments = [_parts(line.lstrip("# ")) for line in lines if line.startswith("#")]
    plain = rows[0] if rows and not _is_number(rows[0][-1]) else None
    rows = rows[1:] if plain else rows
    if not rows or len({len(row) for row in rows}) > 1:
        return None
    headers = [c for c in (plain, *comments) if c and len(c) == len(rows[0])]
    named = next((o for h in headers if (o := _order(h)) is not None), None)
    if named is None and (len(rows[0]) != 8 or plain is not None):
        return None
    order = named or _order(TUM)
    assert order is not None
    at, place, turn = order
    header = next((h for h in headers if _order(h) is not None), TUM)
    try:
        numbers = np.array([[float(row[i]) for i in (*place, *turn)] for row in rows])
    except ValueError:
        return None
    quaternions = numbers[:, 3:]
    lengths = np.linalg.norm(quaternions, axis=1)
    if not (np.abs(lengths - 1) < 0.02).all():
        if named is None and not declared:
            return None
        raise SourceError(f"{name}: a quaternion has length {lengths[0]:.3g}, and not 1")
    said = () if named else ("no header names the columns: read as TUM's, qx qy qz qw last",)
    heads = np.abs(quaternions[:, 0])
    w_first = bool(heads[0] > 0.999 or np.median(heads) > _W_FIRST)
    if named is None and not declared and w_first:
        raise SourceError(
            f"{name}: its quaternions seem to have w first, and nothing names the order; begin "
            "with a line such as `# timestamp tx ty tz qw qx qy qz`"
        )
    unit = named_unit(header[at]) if named else None
    clock = in_seconds([stamp_of(row[at], unit) for row in rows], name)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = rotations_of(quaternions)
    poses[:, :3, 3] = numbers[:, :3]
    return PoseLines(clock, poses, said)


def rotations_of(xyzw_N4: F64) -> F64:
    """N x 3 x 3 rotations of quaternions of any length."""
    x, y, z, w = (xyzw_N4 / np.linalg.norm(xyzw_N4, axis=1, keepdims=True)).T
    rows = (
        *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack(rows, axis=-1).reshape(-1, 3, 3)


def _order(header: Sequence[str]) -> tuple[int, list[int], list[int]] | None:
    """Columns of the time, of x, y, z, and of qx, qy, qz, qw; None where not all are named."""
    names = [re.sub(r"[\[(].*", "", h).strip().lower() for h in header]
    time = time_field(tuple(header))
    turns = {m[1]: i for i, n in reversed([*enumerate(names)]) if (m := _TURN.fullmatch(n))}
    places = {
        m[1]: i
        for i, n in reversed([*enumerate(names)])
        if i not in turns.values() and (m := _PLACE.fullmatch(n))
    }
    if time is None or set(turns) != set("wxyz") or set(places) != set("xyz"):
        return None
    return header.index(time), [places[a] for a in "xyz"], [turns[a] for a in "xyzw"]


def _parts(line: str) -> list[str]:
    if "," in line or ";" in line:
        return [part.strip() for part in re.split(r"[,;]", line)]
    return re.sub(r"\s+([\[(])", r"\1", line).split()


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
