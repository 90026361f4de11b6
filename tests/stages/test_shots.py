"""Shots from transition probabilities, whole or in chunks."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from stpe.signals import schema
from stpe.stages.shots import Shots
from stpe.stages.stage import Request, Span, Window
from stpe.stages.transitions import Transitions
from stpe.video.frame import Frame, SourceInfo

SOURCE = SourceInfo("clip", "file", "0" * 64, 64, 36, 25.0, None, None)


def _signal(length, cuts=(), graduals=()):
    cut, gradual = np.zeros(length, np.float32), np.zeros(length, np.float32)
    for at in cuts:
        cut[at], gradual[at - 1] = 0.9, 0.8
    for first, last in graduals:
        gradual[first : last + 1] = 0.95
        middle = (first + last) // 2
        cut[middle - 1 : middle + 2] = (0.6, 0.7, 0.6)
    return cut, gradual


def _shots(cut, gradual, borders=()):
    """Shots and frame ids, with chunks beginning at `borders`."""
    stage, state, shots, frames = Shots({}, Request()), None, [], []
    edges = [0, *borders, len(cut)]
    for number, (a, b) in enumerate(itertools.pairwise(edges)):
        index = np.arange(a, b)
        transitions = pa.table(
            [index, index / 25, cut[a:b], gradual[a:b]],
            schema=schema("transitions", ("cut", "gradual")),
        )
        every_fifth = index[index % 5 == 0]
        grid = pa.table([every_fifth, every_fifth / 25], schema=schema("frames", ()))
        window = Window(
            SOURCE,
            Span(number, a / 25, b / 25, last=b == len(cut)),
            rows={"transitions": transitions, "frames": grid},
            state=state,
        )
        out = stage.process(window)
        state = out.state
        shots += out.tables["shots"].to_pylist()
        frames += out.tables["frames"].to_pylist()
    return shots, frames


def _brief(shots):
    return [(s["shot_id"], s["start_frame"], s["end_frame"], s["transition"]) for s in shots]


def test_cuts_and_graduals():
    shots, frames = _shots(*_signal(200, cuts=(50,), graduals=((100, 120),)))
    assert _brief(shots) == [(0, 0, 50, "start"), (1, 50, 110, "cut"), (2, 110, 200, "gradual")]
    assert [round(s["confidence"], 2) for s in shots] == [1.0, 0.9, 0.95]
    assert (shots[1]["start_pts"], shots[1]["end_pts"]) == (2.0, 4.4)
    assert shots[2]["end_pts"] == pytest.approx(8.0)
    for frame in frames:
        shot = shots[frame["shot_id"]]
        assert shot["start_frame"] <= frame["frame_index"] < shot["end_frame"]


@pytest.mark.parametrize("border", [40, 50, 51, 105, 109, 112, 121])
def test_chunks_change_nothing_away_from_a_peak(border):
    signal = _signal(200, cuts=(50,), graduals=((100, 120),))
    whole, _ = _shots(*signal)
    shots, frames = _shots(*signal, borders=(border,))
    assert _brief(shots) == _brief(whole)
    for frame in frames:
        shot = shots[frame["shot_id"]]
        assert shot["start_frame"] <= frame["frame_index"] < shot["end_frame"]


def test_a_peak_split_by_a_border_is_one_shot():
    shots, _ = _shots(*_signal(200, graduals=((100, 120),)), borders=(110,))
    assert [s["transition"] for s in shots] == ["start", "gradual"]
    assert abs(shots[1]["start_frame"] - 110) <= 1


def test_a_flash_is_not_a_shot():
    shots, _ = _shots(*_signal(100, cuts=(40, 42)))
    assert _brief(shots) == [(0, 0, 40, "start"), (1, 40, 100, "cut")]


def test_one_frame():
    shots, frames = _shots(*_signal(1))
    assert _brief(shots) == [(0, 0, 1, "start")]
    assert shots[0]["end_pts"] == 1 / 25
    assert frames[0]["shot_id"] == 0


class _Brightness:
    """A detector whose answer is the frame's own brightness."""

    frame_size, context = (48, 27), 25

    def transitions(self, frames_THWC):
        assert len(frames_THWC) >= 51
        value = (frames_THWC[:, 0, 0, 0] / 255).astype(np.float32)
        return value, value


@pytest.mark.parametrize(("before", "core", "after"), [(0, 50, 25), (25, 7, 0), (3, 1, 2)])
def test_transitions_answer_for_the_core(before, core, after):
    frames = [
        Frame(100 + i, 4 + i / 25, np.full((27, 48, 3), i, np.uint8))
        for i in range(before + core + after)
    ]
    stage = Transitions({"shot_detector": _Brightness()}, Request())
    window = Window(SOURCE, Span(0, 0, 9), frames=frames, before=before, core=core)
    rows = stage.process(window).tables["transitions"]
    assert rows["frame_index"].to_pylist() == [100 + before + i for i in range(core)]
    np.testing.assert_allclose(rows["cut"].to_numpy() * 255, np.arange(before, before + core))
