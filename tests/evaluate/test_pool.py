import pytest

from stpe.evaluate.pool import pool
from stpe.evaluate.scorecard import Row, Scorecard


def _card(value, baseline, other=None):
    rows = [
        Row("a.b", "EPE", value, "px", "lower", 10, "samples", baseline=baseline,
            baseline_name="none", baseline_gain=baseline - value),
    ]  # fmt: skip
    if other is not None:
        rows.append(Row("a.c", "F1", other, "1", "higher", 5, "cuts"))
    return Scorecard("id", "uri", "simulator", "path", 10, 1.0, 10, tuple(rows), {})


def test_the_mean_over_videos_and_its_spread_between_them():
    epe, f1 = pool([_card(1.0, 4.0), _card(2.0, 4.0, 0.5), _card(3.0, 4.0), _card(2.0, 5.0)])
    assert (epe.value, epe.videos, epe.n) == (2.0, 4, 40)
    assert 1.0 <= epe.interval[0] < 2.0 < epe.interval[1] <= 3.0
    assert epe.baseline == pytest.approx(4.25)
    assert epe.gain_interval[0] > 0
    assert (f1.value, f1.videos, f1.interval) == (0.5, 1, None)
