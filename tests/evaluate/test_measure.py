"""Figures of blocks: each block once is the plain figure, and intervals cover."""

import numpy as np

from stpe.evaluate.measure import Blocks
from stpe.evaluate.scorecard import block_draws, interval


def test_blocks_are_a_second_but_ten_to_sixty_and_never_shorter_than_a_frame():
    assert Blocks.of(700, 20.0).count == 20
    assert Blocks.of(100, 3.0).count == 10
    assert Blocks.of(90_000, 3600.0).count == 60
    assert Blocks.of(2, 0.1).count == 2
    assert Blocks(100, 10).place([0, 9, 10, 99, 100]).tolist() == [0, 0, 1, 9, 9]


def test_plain_figures_and_repeated_blocks():
    blocks = Blocks(10, 5)
    frames, values = [0, 1, 4, 9], [1.0, 2.0, 9.0, 4.0]
    once = np.ones(5)
    assert blocks.mean(frames, values)(once) == 4.0
    assert blocks.median(frames, values)(once) == 3.0
    assert blocks.median(frames[:3], values[:3])(once) == 2.0
    only_first = np.array([3.0, 0, 0, 0, 0])
    assert blocks.mean(frames, values)(only_first) == 1.5
    assert blocks.median(frames, values)(only_first) == 1.5
    assert blocks.ratio(frames, [1, 1, 0, 0], [1, 1, 1, 1])(once) == 0.5
    assert blocks.f1([0, 3], np.array([[1.0, 0, 0], [0, 1, 1]]))(once) == 0.5
    assert np.isnan(blocks.mean(frames, values)(np.array([0, 0, 0, 5.0, 0])))
    assert np.isnan(blocks.median([], [])(once))


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    blocks = Blocks(600, 20)
    weights = block_draws(20)
    covered = 0
    for _ in range(200):
        # neighbours alike: what a bootstrap over single frames would get wrong
        values = np.repeat(random.normal(0, 1, 20), 30) + random.normal(0, 0.2, 600)
        figure = blocks.mean(np.arange(600), values)
        low, high = interval(np.array([figure(w) for w in weights]))
        covered += low <= 0 <= high
    assert 0.86 <= covered / 200 <= 0.99


def test_draws_are_the_same_for_every_card():
    np.testing.assert_array_equal(block_draws(12), block_draws(12))
    assert (block_draws(12).sum(axis=1) == 12).all()
