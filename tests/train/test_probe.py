"""The probe on made episodes where it is known which signal tells what comes."""

import warnings

import numpy as np
import pytest

from stpe.errors import UsageError
from stpe.train.episodes import Episode
from stpe.train.probe import probe
from stpe.train.windows import windows

pytest.importorskip("torch", reason="the train extra is not installed")

FPS = 4


def episode(number, length=60, kick=80.0):
    """A figure whose speed jumps now and then; `foresight` shows the jump a second ahead."""
    rng = np.random.default_rng(number)
    push = np.where(rng.random(length) < 0.15, rng.choice([-1.0, 1.0], length), 0.0)
    velocity = np.zeros(length)
    for i in range(1, length):
        velocity[i] = 0.8 * velocity[i - 1] + kick * push[i]
    x = np.cumsum(velocity) / FPS
    seen = np.stack([np.r_[push[k:], np.zeros(k)] for k in range(1, FPS + 1)], 1)
    noise = {n: rng.normal(size=(length, 4)).astype(np.float32) for n in ("camera",)}
    nan = np.full((length, 3), np.nan, np.float32)
    return Episode(
        f"made/{number}",
        np.arange(length) / FPS,
        np.stack([x, 0 * x, 0 * x], 1),
        np.full(length, np.nan),
        np.abs(velocity),
        np.full(length, np.nan),
        (frozenset(),) * length,
        ({},) * length,
        ("",) * length,
        {**noise, "foresight": (seen + 0.1 * rng.normal(size=seen.shape)).astype(np.float32),
         "unmeasured": nan},
    )  # fmt: skip


@pytest.fixture(scope="module")
def report():
    return probe([episode(n) for n in range(7)])


def test_the_group_that_tells_is_found_and_no_other(report):
    groups = {g.name: g for g in report.groups}
    assert groups["foresight"].over_state.low > 0.2
    assert groups["foresight"].alone.low > 0.1
    assert groups["foresight"].parts["forward"] > 0.2
    for name in ("camera", "unmeasured"):
        assert not groups[name].over_state.sure
        assert abs(groups[name].over_state.value) < 0.05
        assert not groups[name].alone.sure
    assert groups["all"].over_state.sure
    assert report.over_persistence.sure
    assert report.error < report.persistence


def test_a_seed_gives_one_report_and_rounds_are_not_mixed(report):
    made = [episode(n, length=40) for n in range(4)]
    short = [Episode(**{**vars(e), "groups": {"camera": e.groups["camera"]}}) for e in made]
    assert probe(short, seed=3) == probe(short, seed=3)
    whole = windows(made)
    parted = [
        Episode(**{**vars(e), "round_N": ("a",) * 20 + ("b",) * 20}) for e in made
    ]  # fmt: skip
    # A window spans nine frames: eight of the starts at the border would mix.
    assert len(whole.episode_W) - len(windows(parted).episode_W) == 4 * 8
    assert (whole.at_WK[:, -1] >= FPS).all()


def test_headings_turn_the_world_into_forward_and_left():
    made = episode(0)
    heading = np.full(len(made.times_N), 90.0)
    turned = windows([Episode(**{**vars(made), "heading_N": heading})])
    straight = windows([made])
    assert straight.parts == ("forward", "speed")
    assert turned.parts == ("left", "speed")
    np.testing.assert_allclose(turned.target_WP[:, 0], -straight.target_WP[:, 0], atol=1e-9)


def test_too_few_videos_is_one_line():
    with pytest.raises(UsageError, match="needs 4"):
        probe([episode(n) for n in range(3)])


def test_nothing_to_predict_is_told_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert windows([]).parts == ()
