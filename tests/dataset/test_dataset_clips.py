import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import small_dataset as shared

from stpe.dataset import Dataset, DatasetWriter, collate, open_dataset
from stpe.dataset.pixels import decode
from stpe.errors import UsageError
from stpe.video import open_source
from stpe.video.seeking import Seeker

SIGNALS = ["frames.embedding", "frames.dense", "frames.shot_id", "frames.camera_rotation_deg",
           "frames.caption_brief", "objects.box_xyxy", "objects.label", "motion.flow"]  # fmt: skip


def test_a_clip_holds_what_the_tables_hold(dataset: Dataset):
    clips = dataset.clips(SIGNALS, length=4)
    assert len(clips) == 2 * (12 - 4 + 1)
    for number in (0, 3, 8, 9, 17):
        clip = clips[number]
        video, index = clip["video_id"], np.asarray(clip["frame_index"])
        frames = dataset.arrow("frames", video).to_pylist()
        rows = [r for r in frames if r["frame_index"] in index]
        assert [r["frame_index"] for r in rows] == index.tolist()
        assert np.asarray(clip["pts"]).tolist() == [r["pts"] for r in rows]
        dense = np.asarray(clip["frames.dense"])
        assert dense.shape == (4, 3, 5, 4)
        assert dense.dtype == np.float16
        np.testing.assert_array_equal(dense[2].ravel(), np.float16(rows[2]["dense"]))
        np.testing.assert_array_equal(
            np.asarray(clip["frames.embedding"]), np.float32([r["embedding"] for r in rows])
        )
        assert clip["frames.caption_brief"] == [r["caption_brief"] for r in rows]
        objects = dataset.arrow("objects", video).to_pylist()
        motion = dataset.arrow("motion", video).to_pylist()
        for t, frame in enumerate(index):
            own = [o for o in objects if o["frame_index"] == frame]
            assert clip["objects.label"][t] == [o["label"] for o in own]
            np.testing.assert_array_equal(
                np.asarray(clip["objects.box_xyxy"][t]), np.float32([o["box_xyxy"] for o in own])
            )
            intervals = [m for m in motion if m["frame_index"] == frame]
            assert len(clip["motion.flow"][t]) == len(intervals)
            if intervals:
                assert np.asarray(clip["motion.flow"][t]).shape == (1, 2, 3, 2)


def test_null_is_nan_and_absent_is_none(dataset: Dataset):
    clip = dataset.clips([*SIGNALS, "frames.edges"], length=4)[0]
    rotation = np.asarray(clip["frames.camera_rotation_deg"])
    assert rotation.shape == (4, 3)
    assert np.isnan(rotation).any(axis=1).tolist() == [True, False, False, False]
    assert clip["frames.edges"] is None


def test_clips_stay_in_videos_and_shots_and_keep_the_stride(dataset: Dataset):
    inside = dataset.clips(["frames.shot_id"], length=3, within_shots=True)
    assert len(inside) == 2 * 2 * (6 - 3 + 1)
    assert all(len(set(np.asarray(inside[n]["frames.shot_id"]).tolist())) == 1 for n in range(8))
    strided = dataset.clips(["frames.embedding"], length=4, stride=4)
    assert len(strided) == 2 * 3
    assert np.asarray(strided[-1]["frame_index"]).tolist() == [24, 27, 30, 33]
    with pytest.raises(IndexError):
        strided[6]
    with pytest.raises(UsageError, match="belong to a frame"):
        dataset.clips(["tracks.label"])


def test_pixels_are_those_of_a_decode_from_the_start(dataset: Dataset):
    clip = dataset.clips([], length=3, pixels=True)[7]
    video, index = clip["video_id"], np.asarray(clip["frame_index"])
    size = (shared.WIDTH, shared.HEIGHT)
    slow = list(decode(dataset.media(video), index.tolist(), size))
    np.testing.assert_array_equal(np.asarray(clip["pixels"]), np.stack(slow))
    np.testing.assert_array_equal(dataset.frame(video, int(index[1])), slow[1])
    # A frame that was not analysed has no known time, and is found all the same.
    next_one = next(iter(decode(dataset.media(video), [int(index[1]) + 1], size)))
    np.testing.assert_array_equal(dataset.frame(video, int(index[1]) + 1), next_one)


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libx264", "a.mp4", {"g": "10", "bf": "3"}),
        ("libx264", "b.mkv", {"g": "10", "bf": "2", "x264-params": "open-gop=1"}),
        ("libx264", "c.ts", {"g": "8"}),
        ("libx265", "d.mp4", {"x265-params": "keyint=9:bframes=3:open-gop=1:log-level=none"}),
        ("libvpx-vp9", "e.webm", {"g": "12", "cpu-used": "8", "deadline": "realtime"}),
        ("mpeg4", "f.avi", {"g": "7"}),
    ],
)
def test_a_seek_gives_the_very_frame_or_nothing(tmp_path: Path, codec, name, options):
    clip = shared.make_clip(tmp_path / name, 3, codec, **options)
    with open_source(clip) as source:
        times = [f.pts for f in source]
    size = (shared.WIDTH, shared.HEIGHT)
    truth = list(decode(clip, range(len(times)), size))
    proved = 0
    with Seeker(clip, size) as seeker:
        for start in (30, 11, 0, 23, 17):
            found = seeker.frames_at(times[start : start + 3])
            proved += found is not None
            for image, true in zip(found or (), truth[start:], strict=False):
                np.testing.assert_array_equal(image, true)
        assert seeker.frames_at([times[4] + 0.01]) is None
    assert proved >= (0 if name.endswith("avi") else 4)


def read_in_child(clips, numbers, pipe) -> None:
    pipe.send([summed(clips[n]) for n in numbers])
    pipe.close()


def summed(clip) -> tuple[float, int]:
    pixels = np.asarray(clip["pixels"]).astype(np.int64)
    return float(np.nansum(np.asarray(clip["frames.embedding"]))), int(pixels.sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_same(dataset: Dataset, method: str):
    clips = dataset.clips(["frames.embedding"], length=4, pixels=True)
    numbers = [5, 0, 11]
    expected = [summed(clips[n]) for n in numbers]  # the parent has both videos open now
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=read_in_child, args=(clips, numbers, theirs))
    worker.start()
    theirs.close()
    assert ours.poll(60)
    assert ours.recv() == expected
    worker.join(30)
    assert worker.exitcode == 0
    assert len(pickle.loads(pickle.dumps(clips))) == len(clips)


def test_a_reader_keeps_what_it_opened(tmp_path: Path, clips: list[Path]):
    with DatasetWriter(tmp_path / "ds") as writer:
        first = shared.add(writer, clips[0], 0)
        before = open_dataset(tmp_path / "ds")
        shared.add(writer, clips[1], 1)
        shared.add(writer, clips[0], 5, "another plan")
        assert before.videos == (first,)
        assert before.tables["frames"] == 12
        assert len(before.clips(["frames.embedding"], length=12)) == 1
        after = open_dataset(tmp_path / "ds")
        assert after.videos[-1] == first
        spans = after.rows.spans("frames")
        assert [spans[v] for v in after.videos] == [(0, 12), (12, 12)]


def test_batches_pad_with_masks_and_take_transforms(dataset: Dataset):
    data = pytest.importorskip("torch.utils.data")
    signals = [*SIGNALS, "frames.edges", "pixels"]
    clips = dataset.clips(signals, length=4, stride=4, long_side=80)
    batch = next(iter(data.DataLoader(clips, batch_size=2, collate_fn=collate)))
    assert tuple(batch["pixels"].shape) == (2, 4, 48, 80, 3)
    assert tuple(batch["frames.dense"].shape) == (2, 4, 3, 5, 4)
    boxes, mask = batch["objects.box_xyxy"], batch["objects.box_xyxy.mask"]
    assert (tuple(boxes.shape), tuple(mask.shape)) == ((2, 4, 2, 4), (2, 4, 2))
    assert mask.sum() == 2 * 8 - 1  # one object was unseen in one frame
    assert (boxes[~mask] == 0).all()
    flow = batch["motion.flow"]
    assert tuple(flow.shape) == (2, 4, 1, 2, 3, 2)
    assert batch["motion.flow.mask"][:, :, 0].tolist() == [[False] + [True] * 3, [True] * 4]
    assert batch["frames.edges"] == [None, None]
    one = dataset.clips(["frames.embedding"], 2, transform=lambda clip: clip["frames.embedding"])
    assert tuple(one[0].shape) == (2, 8)


def test_a_length_that_no_video_has_is_refused(dataset: Dataset):
    with pytest.raises(UsageError, match="the longest has 12; make length smaller"):
        dataset.clips(["frames.embedding"], length=13)
    with pytest.raises(UsageError, match="no shot has 7"):
        dataset.clips(["frames.embedding"], length=7, within_shots=True)
    every = dataset.clips(["pixels", "frames.embedding"], length=36, fps="native")[0]
    assert np.asarray(every["pixels"]).shape[0] == 36
    there = ~np.isnan(np.asarray(every["frames.embedding"])).any(axis=1)
    assert np.flatnonzero(there).tolist() == list(range(0, 36, 3))
