"""Shots from transition probabilities, whole or in chunks, and those probabilities in seconds."""

import itertools

import cv2
import numpy as np
import pyarrow as pa
import pytest

from stpe.pipeline.chunks import Cutter, Margin
from stpe.signals import schema
from stpe.stages.shots import Shots
from stpe.stages.stage import Request, Span, Window
from stpe.stages.transitions import Transitions
from stpe.video.frame import Frame, SourceInfo
from stpe.video.sampler import Sampled

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


class _Difference:
    """A detector of how much a picture differs from the one before, at any rate: 1 for half of the
    levels. The cut is marked at the first picture of the new shot."""

    frame_size, context = (48, 27), 25

    def transitions(self, frames_THWC):
        assert len(frames_THWC) >= 51
        assert frames_THWC.shape[1:] == (27, 48, 3)
        value = frames_THWC.astype(np.float32).mean((1, 2, 3))
        step = np.abs(np.diff(value, prepend=value[:1])) / 128
        self.pictures = frames_THWC
        return step.astype(np.float32), step.astype(np.float32)


def _frames(images, pts, first=0):
    return [
        Frame(first + i, t, image) for i, (image, t) in enumerate(zip(images, pts, strict=True))
    ]


def _transitions(frames, before=0, core=None, detector=None):
    stage = Transitions({"shot_detector": detector or _Difference()}, Request())
    core = len(frames) if core is None else core
    window = Window(SOURCE, Span(0, 0, 9), frames=frames, before=before, core=core)
    return stage.process(window).tables["transitions"]


def _grey(level):
    return np.full((72, 128, 3), level, np.uint8)


@pytest.mark.parametrize(("before", "core", "after"), [(0, 50, 25), (25, 7, 0), (3, 1, 2)])
def test_transitions_answer_for_the_core(before, core, after):
    images = [_grey(i % 256) for i in range(before + core + after)]
    images[before:] = [255 - image for image in images[before:]]
    frames = _frames(images, [4 + i / 25 for i in range(len(images))], 100)
    rows = _transitions(frames, before, core)
    assert rows["frame_index"].to_pylist() == [100 + before + i for i in range(core)]
    cut = rows["cut"].to_numpy()
    assert (cut[0] > 0.5) == (before > 0)
    assert (cut[1:] < 0.1).all()


@pytest.mark.parametrize("fps", [0.5, 1, 2, 5, 12, 25, 30, 60, 120, 240])
def test_a_cut_is_at_its_frame_at_any_rate(fps):
    detector = _Difference()
    count = max(6, round(2 * fps))
    images = [_grey(20)] * (count // 2) + [_grey(230)] * (count - count // 2)
    images[count // 2 + 1 :] = [_grey(225)] * (count - count // 2 - 1)
    frames = _frames(images, [i / fps for i in range(count)])
    cut = _transitions(frames, detector=detector)["cut"].to_numpy()
    assert np.flatnonzero(cut > 0.5).tolist() == [count // 2]
    if fps > 30:  # as the detector knows them: at a common rate
        assert len(detector.pictures) <= 2 * 33 + 51


def test_slides_of_one_frame_each_are_shots():
    colours = [(200, 30, 30), (20, 60, 220), (30, 160, 60), (230, 220, 60), (20, 20, 20)]
    frames = _frames([np.full((72, 128, 3), c, np.uint8) for c in colours], np.arange(5) * 3.0)

    class Every(_Difference):
        def transitions(self, frames_THWC):
            changed = np.diff(frames_THWC.astype(int), axis=0, prepend=frames_THWC[:1]).any(
                (1, 2, 3)
            )
            return changed.astype(np.float32), np.zeros(len(changed), np.float32)

    rows = _transitions(frames, detector=Every())
    stage = Shots({}, Request())
    grid = rows.select(["frame_index", "pts"]).cast(schema("frames", ()))
    window = Window(SOURCE, Span(0, 0, 15.0, last=True), rows={"transitions": rows, "frames": grid})
    shots = stage.process(window).tables["shots"].to_pylist()
    assert [s["start_frame"] for s in shots] == [0, 1, 2, 3, 4]
    # What moves jumps from frame to frame in so slow a video, but keeps its colours.
    rng = np.random.default_rng(3)
    scene = rng.integers(0, 255, (72, 128, 3), dtype=np.uint8)
    frames = _frames([np.roll(scene, 17 * i, axis=1) for i in range(5)], np.arange(5) * 1.0)
    assert (_transitions(frames, detector=Every())["cut"].to_numpy() < 0.5).all()


def _card(*lines, size=1.6, ink=255, ground=0, at=(60, 190)):
    image = np.full((360, 640, 3), ground, np.uint8)
    for number, line in enumerate(lines):
        cv2.putText(image, line, (at[0], at[1] + 60 * number), 0, size, (ink,) * 3, 3)
    return cv2.resize(image, (128, 72), interpolation=cv2.INTER_AREA)


class _Blind(_Difference):
    def transitions(self, frames_THWC):
        return np.zeros((2, len(frames_THWC)), np.float32)


def _cuts(images, fps=24):
    frames = _frames(images, [i / fps for i in range(len(images))])
    return np.flatnonzero(_transitions(frames, detector=_Blind())["cut"].to_numpy() > 0.5).tolist()


def test_title_cards_are_cut():
    one, two, three = _card("CHAPTER ONE"), _card("The river"), _card("Fin.")
    assert _cuts([one] * 48 + [two] * 48 + [three] * 48) == [48, 96]
    assert _cuts([one] * 2 + [two] * 2 + [three] * 2, fps=1) == [2, 4]
    dark = [_card(*t, ink=20, ground=240) for t in (["PART 2: HOME"], ["Directed by", "A. Smith"])]
    assert _cuts([dark[0]] * 30 + [dark[1]] * 30) == [30]
    black = _grey(0)
    assert _cuts([one] * 24 + [black] * 12 + [two] * 24) == [36]


def test_what_is_no_card_is_not_cut():
    one, black, white = _card("CHAPTER ONE"), _grey(0), _grey(255)
    assert _cuts([one] * 24 + [white] * 2 + [one] * 24) == []  # a flash
    assert _cuts([one] * 24 + [black] * 8 + [one] * 24) == []
    assert _cuts([black] * 24 + [one] * 24) == []  # nothing was there before
    moved = [_card("CHAPTER ONE", at=(60, 120 + 3 * i)) for i in range(30)]
    assert _cuts(moved) == []  # rolling credits
    assert _cuts([_card("CHAPTER ONE", at=(60, y)) for y in (120, 260) for _ in range(24)]) == []
    rng = np.random.default_rng(0)
    assert _cuts([rng.integers(0, 255, (72, 128, 3), dtype=np.uint8) for _ in range(30)]) == []
    page = np.full((360, 640, 3), 235, np.uint8)
    for y in range(50, 340, 18):
        cv2.line(page, (40, y), (40 + int(rng.integers(150, 560)), y), (40,) * 3, 2)
    asked = cv2.rectangle(page.copy(), (180, 110), (460, 250), (250, 250, 250), -1)
    cv2.putText(asked, "Save changes?", (200, 180), 0, 1, (0, 0, 0), 2)
    page, asked = (cv2.resize(x, (128, 72), interpolation=cv2.INTER_AREA) for x in (page, asked))
    assert _cuts([page] * 24 + [asked] * 24 + [page] * 24) == []
    desk = cv2.rectangle(_grey(90), (0, 66), (127, 71), (40,) * 3, -1)
    window = cv2.rectangle(desk.copy(), (36, 22), (60, 40), (250,) * 3, -1)
    assert _cuts([desk] * 24 + [window] * 24 + [desk] * 24) == []


def test_context_is_given_in_seconds():
    for fps in (1, 25, 240):
        cutter = Cutter({"analysis": Margin(), "small": Margin(1, 1, 2.0)}, 4.0)
        chunks = []
        for i in range(12 * fps):
            images = {"small": _grey(0), **({"analysis": _grey(0)} if i % max(fps, 1) == 0 else {})}
            chunks += cutter.push(Sampled(i, i / fps, images))
        chunks += cutter.finish(12.0)
        assert [c.span.start_pts for c in chunks] == [0, 4, 8]
        for chunk, (before, after) in zip(chunks, [(0, 2), (2, 2), (2, 0)], strict=True):
            first, count = chunk.core["small"]
            assert count == 4 * fps
            assert first in (before * fps, before * fps + min(before, 1))
            assert len(chunk.frames["small"]) - first - count == after * fps
