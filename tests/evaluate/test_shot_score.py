"""Shot scores: one match a boundary, in order, within the tolerance."""

from stpe.evaluate.shots import Transition, score_shots


def cuts(*frames: int) -> list[Transition]:
    return [Transition(f, f) for f in frames]


def test_matching() -> None:
    assert score_shots(cuts(10, 50), cuts(11, 50)).f1 == 1
    assert score_shots(cuts(10, 50), cuts(13, 50)).recall == 0.5
    doubled = score_shots(cuts(10), cuts(9, 10, 11))
    assert (doubled.precision, doubled.recall) == (1 / 3, 1)
    dissolve = [Transition(20, 40)]
    assert score_shots(dissolve, cuts(30)).f1 == 1
    assert score_shots([], []).f1 == 1
    assert score_shots([], cuts(5)).f1 == 0
