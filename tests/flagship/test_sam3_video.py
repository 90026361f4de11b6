"""SAM 3 in video through the real loading path: equal to transformers, within a byte budget."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam3_clip import (
    HEIGHT,
    SIDE,
    TEXTS,
    WIDTH,
    Clip,
    apart,
    grouped,
    kernel,
    save_tiny_video_model,
    video_session,
)

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from transformers.models.sam3_video import modeling_sam3_video  # noqa: E402

from stpe.errors import UsageError  # noqa: E402
from stpe.models.backends.transformers import sam3_session, sam3_video  # noqa: E402
from stpe.models.backends.transformers.sam3_memory import held_bytes  # noqa: E402
from stpe.models.backends.transformers.sam3_session import Session  # noqa: E402
from stpe.models.roles import VideoPrompt, VideoSegmenter  # noqa: E402

memories = "stpe.models.backends.transformers.sam3_memory.Memories"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    """Networks this small are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam3")
    save_tiny_video_model(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> sam3_video.Sam3Video:
    return sam3_video.load({"repository": folder}, {"dtype": "float32"})


def enlarged(logits: Any) -> np.ndarray:
    size = (HEIGHT, WIDTH)
    return (torch.nn.functional.interpolate(logits[None], size, mode="bilinear")[0] > 0).numpy()


def logits_of(session: Session, monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[int, Any]]:
    """Where the logits of each frame's objects will be, as the session makes them."""
    seen: dict[int, dict[int, Any]] = {}
    step, shown = session._step, sam3_session.shown
    at = []

    def stepping(index: int, walk: Any) -> Any:
        at[:] = [index]
        return step(index, walk)

    def showing(look: Any, followed: Any, *, ranked: bool) -> Any:
        frame = seen.setdefault(at[0], {}) if at else seen.setdefault(0, {})
        frame.update({one.id: one.logits_hw.clone() for one in followed})
        return shown(look, followed, ranked=ranked)

    monkeypatch.setattr(session, "_step", stepping)
    monkeypatch.setattr(sam3_session, "shown", showing)
    return seen


def test_words_equal_transformers_both_ways(
    folder: Path, model: sam3_video.Sam3Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, begin = Clip(16), 4
    reference = transformers.Sam3VideoModel.from_pretrained(folder).eval()
    monkeypatch.setattr(modeling_sam3_video, "cv_utils_kernel", kernel())
    direct = video_session(folder, clip, TEXTS)
    expected = {}
    removals, label_of = set(), {}
    for reverse in (False, True):
        walk = reference.propagate_in_video_iterator(direct, begin, reverse=reverse)
        removed = set(direct.hotstart_removed_obj_ids)
        for out in walk:
            if out.removed_obj_ids - removed:
                removals.add(out.frame_idx)
            removed |= out.removed_obj_ids
            label_of |= direct.obj_id_to_prompt_id
            expected[out.frame_idx] = (out, set(direct.hotstart_removed_obj_ids))
    session = model.open(clip)
    seen = logits_of(session, monkeypatch)
    seen[begin] = seen.setdefault(0, {})
    session.prompt(begin, VideoPrompt(texts=TEXTS))
    frames = list(session.propagate("both", begin))
    assert [f.index for f in frames] == [*range(begin, 16), *range(begin - 1, -1, -1)]
    assert len(removals) > 0
    assert sum(len(frame.objects) for frame in frames) > 10
    for frame in frames:
        if frame.index in removals:
            continue  # transformers gives objects the masks of others where it removes one
        out, hidden = expected[frame.index]
        ids = sorted(set(out.obj_id_to_mask) - hidden)
        assert [o.id - 1 for o in frame.objects] == ids
        masks = {i: enlarged(out.obj_id_to_mask[i])[0] for i in ids}
        for same in grouped(ids, label_of).values():
            masks |= apart({i: masks[i] for i in same}, out.obj_id_to_tracker_score)
        for one in frame.objects:
            logits = seen[frame.index][one.id]
            torch.testing.assert_close(logits, out.obj_id_to_mask[one.id - 1][0], atol=1e-4, rtol=0)
            assert (one.mask_HW == masks[one.id - 1]).mean() > 0.9999


BOX = np.array([[20, 10, 70, 80]], np.float32)
POINTS = np.array([[40, 30], [120, 60]], np.float32)


def boxed(**more: Any) -> VideoPrompt:
    return VideoPrompt(boxes_N4=BOX, box_labels_N=np.ones(1, np.int32), **more)


def pointed(points: np.ndarray, *labels: int) -> VideoPrompt:
    return VideoPrompt(points_P2=points, point_labels_P=np.array(labels, np.int32))


def disc() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (x - 60) ** 2 + (y - 50) ** 2 < 30**2


def test_pointing_equals_transformers_both_ways(
    folder: Path, model: sam3_video.Sam3Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, begin = Clip(24), 3
    reference = transformers.Sam3TrackerVideoModel.from_pretrained(folder).eval()
    video = video_session(folder, clip, ()).processed_frames
    direct = transformers.Sam3TrackerVideoInferenceSession(
        torch.stack(list(video.values())), dtype=torch.float32
    )
    to_model = np.array([SIDE / WIDTH, SIDE / HEIGHT], np.float32)
    both = np.concatenate([BOX.reshape(2, 2), POINTS]) * to_model
    for object_id, points, labels in ((1, both, [2, 3, 1, 0]), (2, POINTS[1:] * to_model, [1])):
        inputs = {
            "point_coords": torch.from_numpy(points)[None, None],
            "point_labels": torch.tensor(labels, dtype=torch.int32)[None, None],
        }
        direct.add_point_inputs(direct.obj_id_to_idx(object_id), begin, inputs)
    mask = torch.from_numpy(disc()).float()[None, None]
    mask = torch.nn.functional.interpolate(mask, (SIDE, SIDE), mode="bilinear", antialias=True)
    direct.add_mask_inputs(direct.obj_id_to_idx(3), begin, (mask >= 0.5).float())
    direct.obj_with_new_inputs = [1, 2, 3]
    with torch.inference_mode():
        reference(inference_session=direct, frame_idx=begin)
    expected = {}
    for reverse in (False, True):
        for out in reference.propagate_in_video_iterator(direct, begin, reverse=reverse):
            expected[out.frame_idx] = (out.pred_masks[:, 0], out.object_score_logits[:, 0])

    session = model.open(clip)
    seen = logits_of(session, monkeypatch)
    labels = np.array([1, 0], np.int32)
    session.prompt(begin, boxed(points_P2=POINTS, point_labels_P=labels))
    session.prompt(begin, pointed(POINTS[1:], 1))
    made = session.prompt(begin, VideoPrompt(mask_HW=disc()))
    (third,) = made.objects
    assert (third.id, third.label) == (3, None)
    frames = list(session.propagate("both"))
    assert [f.index for f in frames] == [*range(begin, 24), *range(begin - 1, -1, -1)]
    for frame in frames:
        masks, presence = expected[frame.index]
        scores = presence.sigmoid()
        assert [o.id for o in frame.objects] == [1, 2, 3]
        for one in frame.objects:
            own = masks[one.id - 1]
            torch.testing.assert_close(seen[frame.index][one.id], own, atol=1e-4, rtol=0)
            assert one.score == pytest.approx(float(scores[one.id - 1]), abs=1e-4)
            assert (one.mask_HW == enlarged(own[None])[0]).mean() > 0.9999


def test_memory_stays_flat_and_changes_no_mask(
    folder: Path, model: sam3_video.Sam3Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the same walk with nothing given up; then for long."""

    def walk(session: Session, *prompts: VideoPrompt) -> tuple[list[Any], list[int]]:
        for prompt in prompts:
            session.prompt(0, prompt)
        frames, held = [], []
        for frame in session.propagate("forward"):
            frames.append([(o.id, o.mask_HW.tobytes(), o.score) for o in frame.objects])
            held.append(session.held_bytes)
        return frames, held

    both = VideoPrompt(texts=TEXTS), boxed()
    pruned, held = walk(model.open(Clip(16)), *both)
    with monkeypatch.context() as patch:
        for name in ("prune", "slim"):
            patch.setattr(f"{memories}.{name}", lambda *_: None)
        whole, kept = walk(model.open(Clip(16)), *both)
    assert pruned == whole
    assert kept[-1] > 2 * held[-1]

    long = model.open(Clip(200))
    _, held = walk(long, boxed())
    assert max(held[20:]) == max(held[:20])
    long.close()
    assert long.held_bytes == 0

    few = sam3_video.load({"repository": folder}, {"dtype": "float32"})
    few.network.model.max_num_objects = 2
    few.network.model.recondition_every_nth_frame = 1
    _, held = walk(few.open(Clip(50)), VideoPrompt(texts=TEXTS[:1]))
    assert max(held[30:]) < 1.02 * max(held[:30])


def test_over_the_budget_the_oldest_goes(
    folder: Path, model: sam3_video.Sam3Video, caplog: pytest.LogCaptureFixture
) -> None:
    small = sam3_video.load({"repository": folder}, {"dtype": "float32", "session_mb": 0.1})
    held = []
    for each in (model, small):
        session = each.open(Clip(9))
        session.prompt(0, boxed())
        session.prompt(0, pointed(POINTS, 1, 0))
        assert len(list(session.propagate("forward"))) == 9
        held.append(held_bytes(session._pointed.memories.tensors))
    assert held[1] < 0.1 * 2**20 < held[0]
    assert len([r for r in caplog.records if "less memory" in r.message]) == 1


def test_prompts_ids_removal_and_cancel(model: sam3_video.Sam3Video) -> None:
    assert isinstance(model, VideoSegmenter)
    session = model.open(Clip(8))
    with pytest.raises(UsageError, match="nothing is followed"):
        session.propagate("forward")
    named = [o.id for o in session.prompt(0, VideoPrompt(texts=TEXTS)).objects]
    (boxed_one,) = session.prompt(0, boxed()).objects
    assert [*named, boxed_one.id] == list(session.object_ids) == list(range(1, len(named) + 2))
    # The same words find the same objects.
    again = session.prompt(0, VideoPrompt(texts=TEXTS[:1])).objects
    assert {o.id for o in again} <= set(named)

    seen: list[int] = []
    for frame in session.propagate("forward", cancelled=lambda: len(seen) == 2):
        seen.append(frame.index)
    assert seen == [0, 1]
    session.remove_object(boxed_one.id)
    with pytest.raises(UsageError, match="no object"):
        session.remove_object(boxed_one.id)
    gone = session.object_ids[0]
    session.remove_object(gone)
    followed = [o.id for f in session.propagate("forward", 2) for o in f.objects]
    assert not {gone, boxed_one.id} & set(followed)
    session.reset()
    last = max([*followed, boxed_one.id])
    (new,) = session.prompt(0, VideoPrompt(mask_HW=disc())).objects
    assert new.id > last
    with pytest.raises(UsageError, match="no frame 8"):
        session.prompt(8, boxed())
    for empty in (VideoPrompt(), pointed(POINTS, 0, 0)):
        with pytest.raises(UsageError, match="names nothing"):
            session.prompt(0, empty)
    with pytest.raises(UsageError, match="words make new objects"):
        session.prompt(0, VideoPrompt(texts=TEXTS), new.id)
    with pytest.raises(UsageError, match="the mask is 2x2"):
        session.prompt(0, VideoPrompt(mask_HW=np.ones((2, 2), bool)))


def test_a_correction_holds(model: sam3_video.Sam3Video) -> None:
    session = model.open(Clip(8))
    found = session.prompt(0, VideoPrompt(texts=TEXTS)).objects[0]
    list(session.propagate("forward", max_frames=4))
    (one,) = session.prompt(4, VideoPrompt(mask_HW=disc()), found.id).objects
    assert (one.id, one.label) == (found.id, found.label)
    agreement = (one.mask_HW & disc()).sum() / (one.mask_HW | disc()).sum()
    assert agreement > 0.9
    frames = {f.index: f for f in session.propagate("forward", 2)}
    kept = next(o for o in frames[4].objects if o.id == found.id)
    assert np.array_equal(kept.mask_HW, one.mask_HW)
    # A box of what it is not is taken away from its mask.
    without = VideoPrompt(mask_HW=disc(), boxes_N4=BOX, box_labels_N=np.zeros(1, np.int32))
    (less,) = session.prompt(4, without, found.id).objects
    assert not np.array_equal(less.mask_HW, one.mask_HW)


@pytest.mark.parametrize("first", [boxed(), VideoPrompt(texts=TEXTS)])
def test_after_a_long_walk_any_frame_can_be_prompted(
    model: sam3_video.Sam3Video, first: VideoPrompt
) -> None:
    """Memories that later frames of the walk do not attend to are gone by then."""
    session = model.open(Clip(18))
    session.prompt(0, first)
    last = list(session.propagate("forward", max_frames=16))[-1]
    (again,) = session.propagate("forward", start=15, max_frames=1)
    assert [o.id for o in again.objects] == [o.id for o in last.objects]
    one = session.object_ids[0]
    for index in (15, 4, 12):
        assert session.prompt(index, pointed(POINTS, 1, 0), one).objects[0].id == one
        session.prompt(index, boxed())
        session.prompt(index, VideoPrompt(texts=TEXTS))
    assert [f.index for f in session.propagate("forward", start=12)] == [*range(12, 18)]


def test_a_walk_both_ways_goes_back_over_a_long_one(
    model: sam3_video.Sam3Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects that are confirmed often at first, and later no more."""
    network = model.network.model
    for rule in ("hotstart_unmatch_thresh", "hotstart_dup_thresh"):
        monkeypatch.setattr(network, rule, 1000)
    monkeypatch.setattr(network, "max_num_objects", 2)
    monkeypatch.setattr(network, "recondition_every_nth_frame", 1)
    session = model.open(Clip(15))
    session.prompt(0, VideoPrompt(texts=TEXTS[:1]))
    list(session.propagate("forward", max_frames=14))
    monkeypatch.setattr(network, "recondition_every_nth_frame", 1000)
    frames = [frame.index for frame in session.propagate("both", start=14)]
    assert frames == [14, *range(13, -1, -1)]


def test_one_encoding_a_frame_serves_all(
    model: sam3_video.Sam3Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam3_video, "id", lambda _: 0, raising=False)
    passes = []
    backbone = model.network.model.detector_model.vision_encoder.backbone
    hook = backbone.register_forward_hook(lambda *_: passes.append(1))
    session = model.open(Clip(4))
    session.prompt(0, VideoPrompt(texts=TEXTS))
    session.prompt(0, boxed())
    session.prompt(0, pointed(POINTS, 1, 0))
    assert len(passes) == 1
    list(session.propagate("forward"))
    assert len(passes) == 4

    # Another session is never taken for this one, be it at the address of one that is gone.
    other = model.open(Clip(4))
    session.prompt(0, boxed())
    other.prompt(0, boxed())
    hook.remove()
    assert len(passes) == 6


def test_half_precision_runs(folder: Path) -> None:
    """What a GPU uses by default."""
    model = sam3_video.load({"repository": folder}, {"dtype": "bfloat16"})
    session = model.open(Clip(5))
    session.prompt(0, VideoPrompt(texts=TEXTS))
    session.prompt(0, VideoPrompt(mask_HW=disc()))
    session.prompt(0, boxed(points_P2=POINTS, point_labels_P=np.array([1, 0], np.int32)))
    assert [f.index for f in session.propagate("forward")] == [0, 1, 2, 3, 4]
