import numpy as np
import pytest

from stpe.evaluate.reliability import reliability


def test_bins_and_error_by_hand():
    found = reliability(
        np.array([0.05, 0.95, 0.95, 0.95, 1.0, np.nan]), np.array([0, 1, 1, 0, 0, 1])
    )
    low, high = found.bins
    assert (low.n, low.accuracy, high.n, high.accuracy) == (1, 0.0, 4, 0.5)
    assert found.ece == pytest.approx((1 * 0.05 + 4 * abs(0.9625 - 0.5)) / 5)


def test_honest_confidence_has_no_error_and_boasting_has():
    random = np.random.default_rng(0)
    confidence = random.uniform(size=20_000)
    correct = random.uniform(size=20_000) < confidence
    assert reliability(confidence, correct).ece < 0.015
    assert reliability(np.sqrt(confidence), correct).ece > 0.1


def test_nothing_and_nonsense():
    assert np.isnan(reliability(np.zeros(0), np.zeros(0)).ece)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        reliability(np.array([1.5]), np.array([True]))
    with pytest.raises(ValueError, match="outcomes"):
        reliability(np.array([0.5]), np.array([True, False]))
