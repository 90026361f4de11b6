"""Flow and depth scores on fields whose errors are known by construction."""

import numpy as np
import pytest

from stpe.evaluate.dense import score_depth, score_flow


def test_flow_error_and_outliers() -> None:
    truth = np.full((4, 10, 2), 3.0, np.float32)
    predicted = truth.copy()
    predicted[0, :, 0] += 4  # a quarter of the pixels is 4 px off
    score = score_flow(truth, predicted, np.ones((4, 10), bool))
    assert (score.epe, score.outliers, score.n) == (1.0, 0.25, 40)
    fast = truth * 100  # 4 px off is under 5 % of 424 px
    predicted = fast.copy()
    predicted[..., 0] += 4
    assert score_flow(fast, predicted, np.ones((4, 10), bool)).outliers == 0
    assert score_flow(truth, truth, np.zeros((4, 10), bool)).n == 0


def test_relative_depth_is_scaled_and_metric_is_not() -> None:
    truth = np.linspace(1, 9, 80, dtype=np.float32).reshape(8, 10)
    valid = np.ones_like(truth, bool)
    relative = score_depth(truth, truth * 0.01, valid, relative=True)
    assert relative.abs_rel == pytest.approx(0, abs=1e-6)
    assert relative.delta1 == 1
    assert relative.rank == pytest.approx(1)
    metric = score_depth(truth, truth * 1.1, valid, relative=False)
    assert metric.abs_rel == pytest.approx(0.1, rel=1e-5)
    inverse = score_depth(truth, 1 / truth, valid, relative=True)
    assert inverse.rank == pytest.approx(-1)
    truth[0, 0] = 0  # unknown
    assert score_depth(truth, truth, valid, relative=False).n == 79
