"""Objects followed through generated clips whose masks are known."""

import cv2
import numpy as np
import pytest

from stpe import Engine
from stpe.errors import ModelError, UsageError
from stpe.evaluate.masks import region_similarity
from stpe.models import loader
from stpe.models.backends.composed.mask_warp import carried, visible_before
from stpe.models.roles import VideoPrompt, VideoSegmenter

HEIGHT, WIDTH = 240, 432
pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def model():
    with Engine("embedded") as engine:
        found = engine.role("video_segmenter")
        assert isinstance(found, VideoSegmenter)
        yield found


class Clip:
    """A checked ball over a still textured ground; `centres` are None where it is away."""

    def __init__(self, centres, radius=36):
        noise = np.random.default_rng(3)
        ground = noise.integers(60, 120, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
        self.ground = cv2.resize(ground, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        self.centres = centres
        self.radius = radius
        self.pts = [i / 25 for i in range(len(centres))]
        self.asked = []

    def mask(self, index):
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        if self.centres[index] is None:
            return np.zeros((HEIGHT, WIDTH), bool)
        cx, cy = self.centres[index]
        return (x - cx) ** 2 + (y - cy) ** 2 <= self.radius**2

    def image(self, index):
        self.asked.append(index)
        image = self.ground.copy()
        mask = self.mask(index)
        if mask.any():
            cx, cy = self.centres[index]
            y, x = np.mgrid[:HEIGHT, :WIDTH]
            stripes = ((x - cx + 200) // 12 + (y - cy + 200) // 12) % 2
            image[mask & (stripes == 0)] = (230, 60, 40)
            image[mask & (stripes == 1)] = (250, 220, 60)
        return image


def moving(count=10):
    return Clip([(90 + 9 * i, 120 + 3 * i) for i in range(count)])


def test_a_moving_ball_is_followed_both_ways(model):
    clip = moving()
    session = model.open(clip)
    made = session.prompt(5, VideoPrompt(mask_HW=clip.mask(5)))
    assert [o.id for o in made.objects] == [1]
    frames = list(session.propagate("both"))
    assert [f.index for f in frames] == [5, 6, 7, 8, 9, 4, 3, 2, 1, 0]
    assert [f.pts for f in frames] == [clip.pts[f.index] for f in frames]
    for frame in frames:
        (ball,) = frame.objects
        assert region_similarity(clip.mask(frame.index), ball.mask_HW) > 0.9
        assert ball.score > 0.6
    session.close()
    assert session.held_bytes == 0


def test_a_ball_that_leaves_is_lost_and_found_again(model):
    inside = [(330 + 22 * i, 120) for i in range(7)]
    clip = Clip([*inside, None, None, None, *[(60 + 12 * i, 80) for i in range(4)]])
    session = model.open(clip)
    session.prompt(0, VideoPrompt(mask_HW=clip.mask(0)))
    followed = {f.index: f.objects[0] for f in session.propagate("forward")}
    for away in (8, 9):
        assert followed[away].score < 0.2
        assert not followed[away].mask_HW.any()
    assert followed[2].score > 0.6
    back = len(clip.pts) - 1
    assert followed[back].score > 0.4
    assert region_similarity(clip.mask(back), followed[back].mask_HW) > 0.85


def test_prompts_ids_removal_and_cancel(model):
    clip = moving(5)
    session = model.open(clip)
    with pytest.raises(UsageError, match="nothing is followed"):
        session.propagate("forward")
    x, y = clip.centres[0]
    box = np.array([[x - 36, y - 36, x + 36, y + 36]], np.float32)
    one = np.ones(1, np.int32)
    boxed = session.prompt(0, VideoPrompt(boxes_N4=box, box_labels_N=one)).objects[0]
    assert region_similarity(clip.mask(0), boxed.mask_HW) > 0.9
    second = session.prompt(0, VideoPrompt(mask_HW=clip.mask(0))).objects[0]
    assert (boxed.id, second.id) == session.object_ids == (1, 2)
    session.remove_object(1)
    with pytest.raises(UsageError):
        session.remove_object(1)
    corrected = session.prompt(0, VideoPrompt(boxes_N4=box, box_labels_N=one), 2)
    assert [o.id for o in corrected.objects] == [2]

    seen = []
    walk = session.propagate("forward", cancelled=lambda: len(seen) == 2)
    for frame in walk:
        seen.append(frame.index)
    assert seen == [0, 1]
    silent, _, frame = session.propagate("forward", 2, 1)  # one may stop on the way
    assert silent is None
    assert frame.index == 2
    session.reset()
    assert session.prompt(0, VideoPrompt(mask_HW=clip.mask(0))).objects[0].id == 3
    unknown = session.prompt(0, VideoPrompt(texts=("hippogriff",)))
    assert not unknown.objects
    assert "no model here can find 'hippogriff'" in unknown.warnings
    with pytest.raises(UsageError, match="no frame 5"):
        session.prompt(5, VideoPrompt(mask_HW=clip.mask(0)))
    with pytest.raises(UsageError, match="names nothing"):
        session.prompt(0, VideoPrompt())


def off(x, y):
    return VideoPrompt(
        points_P2=np.array([[x, y]], np.float32), point_labels_P=np.zeros(1, np.int32)
    )


def test_points_off_the_object_take_away_what_they_stand_on(model):
    clip = moving(3)
    ball = clip.mask(0)
    both = ball.copy()
    both[140:170, 300:360] = True  # ground, which is not of the ball
    session = model.open(clip)
    at = off(330, 155)
    pointed = VideoPrompt(mask_HW=both, points_P2=at.points_P2, point_labels_P=at.point_labels_P)
    assert region_similarity(ball, session.prompt(0, pointed).objects[0].mask_HW) > 0.9
    with pytest.raises(UsageError, match="names nothing"):
        session.prompt(0, at)

    whole = session.prompt(0, VideoPrompt(mask_HW=both)).objects[0]
    with pytest.raises(UsageError, match="not remembered"):
        session.prompt(1, at, whole.id)
    same = session.prompt(0, off(20, 20), whole.id).objects[0]  # which was not of it anyway
    assert region_similarity(whole.mask_HW, same.mask_HW) > 0.99
    corrected = session.prompt(0, at, whole.id).objects[0]
    assert region_similarity(ball, corrected.mask_HW) > 0.9


def test_a_correction_replaces_what_was_said_of_the_frame(model):
    clip = moving(3)
    wrong = np.roll(clip.mask(0), (-60, 150), (0, 1))
    followed = []
    for said in ([wrong, clip.mask(0)], [clip.mask(0)]):
        session = model.open(clip)
        for mask in said:
            session.prompt(0, VideoPrompt(mask_HW=mask), *session.object_ids)
        followed.append([frame.objects[0] for frame in session.propagate("forward")])
    for corrected, fresh in zip(*followed, strict=True):
        assert np.array_equal(corrected.mask_HW, fresh.mask_HW)
        assert corrected.score == fresh.score


def test_a_composed_model_needs_its_parts():
    selection = loader.resolve("embedded")
    with pytest.raises(ModelError, match="load it with an Engine"):
        loader.load(selection.models["video_segmenter"])


def test_warping_a_shift():
    mask = np.zeros((40, 60), np.float32)
    mask[10:20, 10:20] = 1
    back = np.full((40, 60, 2), (-7, 0), np.float32)
    assert np.array_equal(carried(mask, back), np.roll(mask, 7, 1))
    visible = visible_before(back, -back)
    assert visible[:, 7:].all()
    assert not visible[:, :7].any()
