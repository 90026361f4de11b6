import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from stpe import calibration
from stpe.calibration import Curve, calibrated, curves, digest
from stpe.evaluate.calibration import fit
from stpe.evaluate.reliability import reliability
from stpe.pipeline.plan import make_plan
from stpe.pipeline.recipe import Recipe
from stpe.signals import CALIBRATED, RAW, schema
from stpe.stages.stage import ANALYSIS, Stage

STORED = {"objects.motion_confidence_raw", "motion.flow_confidence_raw"}


@pytest.fixture
def halved(monkeypatch):
    """Every confidence of the tables below is worth half of what it says."""
    half = {"raw": [0.0, 1.0], "calibrated": [0.0, 0.5]}
    signals = {"objects.motion_confidence": half, "motion.flow_confidence": half}
    monkeypatch.setattr(calibration, "_text", lambda: json.dumps({"signals": signals}))
    curves.cache_clear()
    digest.cache_clear()
    yield
    curves.cache_clear()
    digest.cache_clear()


def test_stored_confidence_is_calibrated_with_the_raw_beside_it(halved):
    rows = pa.table(
        {"motion_confidence": pa.array([0.5, None, 1.0], pa.float32()), "pts": [0.0, 1.0, 2.0]}
    )
    got = calibrated("objects", rows, STORED)
    assert got["motion_confidence"].to_pylist() == [0.25, None, 0.5]
    assert got["motion_confidence_raw"].to_pylist() == [0.5, None, 1.0]
    assert got["pts"].to_pylist() == [0.0, 1.0, 2.0]
    assert calibrated("objects", rows, ()).column_names == ["motion_confidence", "pts"]


def test_lists_in_slices_and_chunks_are_mapped_number_by_number(halved):
    whole = pa.array([[9.0], [0.5, 1.0], None, [], [0.25]], pa.list_(pa.float16()))
    column = pa.chunked_array([whole.slice(1, 2), whole.slice(3)])
    got = calibrated("motion", pa.table({"flow_confidence": column}), STORED)
    assert got["flow_confidence"].to_pylist() == [[0.25, 0.5], None, [], [0.125]]
    assert got["flow_confidence_raw"].to_pylist() == column.to_pylist()


def test_shipped_curves_rise_and_are_of_the_vocabulary():
    assert set(curves()) <= set(CALIBRATED)
    for name in CALIBRATED:
        table, column = name.split(".")
        assert schema(table).field(column).type == schema(table).field(column + RAW).type
    for curve in curves().values():
        assert len(curve.raw) == len(curve.calibrated) >= 1
        assert (np.diff(curve.raw) > 0).all()
        assert (np.diff(curve.calibrated) >= 0).all()
        assert 0 <= min(curve.calibrated) <= max(curve.calibrated) <= 1


def test_fit_finds_how_often_it_is_right_and_never_claims_certainty():
    random = np.random.default_rng(1)
    said = random.uniform(0, 1, 8000)
    right = random.uniform(0, 1, 8000) < said**2
    curve = fit(said[::2], right[::2].astype(float))
    np.testing.assert_allclose(
        curve.apply(np.array([0.3, 0.6, 0.9])), [0.09, 0.36, 0.81], atol=0.06
    )
    before = reliability(said[1::2], right[1::2]).ece
    after = reliability(curve.apply(said[1::2]), right[1::2]).ece
    assert before > 0.1
    assert after < 0.03
    sure = fit(np.linspace(0.5, 1, 60), np.ones(60))
    assert sure.apply(np.ones(1))[0] < 1
    with pytest.raises(ValueError, match="too few"):
        fit(np.ones(5), np.ones(5))


def test_pools_where_more_confidence_is_less_often_right():
    said = np.repeat([0.1, 0.5, 0.9], 50)
    right = np.concatenate([np.zeros(50), np.ones(50), np.tile([0.0, 1.0], 25)])
    curve = fit(said, right)
    assert curve.raw[1:] == pytest.approx((0.1, 0.7))
    assert curve.calibrated[2] == pytest.approx(0.75, abs=0.02)
    assert isinstance(curve, Curve)


def test_what_lies_below_the_first_knot_keeps_its_order():
    curve = fit(np.repeat([0.6, 0.9], 50), np.ones(100))
    below = curve.apply(np.array([0.0, 0.3, 0.6]))
    assert (np.diff(below) > 0).all()
    assert below[0] > 0.8


class _Doubt(Stage):
    name = "doubt"
    writes = ("frames.camera_confidence",)
    grid = ANALYSIS

    def process(self, window):
        raise NotImplementedError


def _plan(**given):
    nothing = SimpleNamespace(models={}, missing={}, profile="none")
    return make_plan(nothing, stages=[_Doubt], **given)


def test_the_raw_confidence_is_stored_unless_left_out_and_a_new_curve_is_another_plan(monkeypatch):
    plan = _plan()
    raw = "frames.camera_confidence_raw"
    assert raw in plan.stored
    assert raw in _plan(signals=[raw]).stored
    assert "frames.camera_confidence" in _plan(signals=[raw]).stored
    assert raw not in _plan(without=[raw]).stored
    key = Recipe.of(plan).key
    monkeypatch.setattr("stpe.pipeline.recipe.digest", lambda: "another")
    assert Recipe.of(plan).key != key
