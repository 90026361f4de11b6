"""Trajectory errors agree with evo's printed figures."""

from pathlib import Path

import numpy as np
import pytest

from stpe.evaluate import trajectory as t


def tum(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = np.loadtxt(path)
    x, y, z, w = rows[:, 4:8].T / np.linalg.norm(rows[:, 4:8], axis=1)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, 3] = rows[:, 1:4]
    poses[:, :3, :3] = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
        ],
        1,
    )
    return rows[:, 0], poses


def kitti(path: Path) -> np.ndarray:
    poses = np.tile(np.eye(4), (len(rows := np.loadtxt(path)), 1, 1))
    poses[:, :3] = rows.reshape(-1, 3, 4)
    return poses


@pytest.mark.parametrize(
    ("estimate", "with_scale", "rmse", "maximum"),
    [("rgbdslam", False, 0.013470, 0.034760), ("ORB_kf_mono", True, 0.009755, 0.027924)],
)
def test_tum_absolute(
    shared_data: Path, estimate: str, with_scale: bool, rmse: float, maximum: float
) -> None:
    folder = shared_data / "trajectory_metrics_evo"
    truth_times, truth = tum(folder / "freiburg1_xyz-groundtruth.txt")
    times, poses = tum(folder / f"freiburg1_xyz-{estimate}.txt")
    i, j = t.match_times(times, truth_times)
    aligned = t.align(poses[i], truth[j], with_scale)
    ape = t.ErrorSummary.of(t.absolute_errors(aligned, truth[j]))
    assert (ape.rmse, ape.max) == pytest.approx((rmse, maximum), abs=2e-6)
    if estimate == "rgbdslam":
        rpe = t.ErrorSummary.of(t.relative_errors(aligned, truth[j])[0])
        assert (rpe.rmse, rpe.mean) == pytest.approx((0.005764, 0.004816), abs=2e-6)


def test_kitti(shared_data: Path) -> None:
    folder = shared_data / "trajectory_metrics_evo"
    truth = kitti(folder / "KITTI_00_gt.txt")
    orb, sptam = kitti(folder / "KITTI_00_ORB.txt"), kitti(folder / "KITTI_00_SPTAM.txt")
    raw = t.ErrorSummary.of(t.absolute_errors(orb, truth))
    aligned = t.ErrorSummary.of(t.absolute_errors(t.align(orb, truth), truth))
    rotation = t.ErrorSummary.of(t.relative_errors_by_distance(orb, truth, 100)[1])
    translation = t.ErrorSummary.of(t.relative_errors_by_distance(sptam, truth, 100)[0])
    assert raw.rmse == pytest.approx(7.790289, abs=2e-6)
    assert aligned.rmse == pytest.approx(1.303450, abs=2e-6)
    assert rotation.rmse == pytest.approx(0.728836, abs=2e-6)
    assert translation.rmse == pytest.approx(2.611486, abs=2e-6)
