from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stpe.dataset import Dataset, DatasetWriter, open_dataset
from stpe.errors import UsageError
from stpe.models.roles import ImageFeatures
from stpe.search import Search, search
from stpe.signals import schema

CAPTIONS = [
    "A person walks left.",
    "A person walks left.",
    "A dog sleeps on the ground.",
    "The camera pans over an empty street.",
    "A car stops at a red light.",
    "A car stops at a red light.",
    "A person runs.",
    None,
]


class Letters:
    """A text embedder that is no model: counts of letters. Similar words are near."""

    dimension = 26
    texts = 0

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += len(texts)
        counts = [[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts]
        vectors = np.array(counts, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Colours:
    """An image embedder that is no model: the mean colour."""

    dimension = 3

    def embed(self, images: Sequence[np.ndarray]) -> list[ImageFeatures]:
        means = [image.reshape(-1, 3).mean(axis=0).astype(np.float32) for image in images]
        none = np.zeros((1, 1, 3), np.float16)
        return [ImageFeatures(mean / np.linalg.norm(mean), none) for mean in means]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "ds") as writer:
        for video in range(2):
            colours = np.abs(rng.normal(size=(len(CAPTIONS), 3)))
            colours /= np.linalg.norm(colours, axis=1, keepdims=True)
            frames = [
                {"frame_index": 15 * n, "pts": n / 2, "caption_brief": caption,
                 "embedding": None if n == 3 else colours[n].tolist()}
                for n, caption in enumerate(CAPTIONS)
            ]  # fmt: skip
            objects = [
                {"frame_index": 105, "object_id": 0, "pts": 3.5, "label": "traffic light",
                 "confidence": 0.4 + video / 2}
            ]  # fmt: skip
            events = [
                {"event_id": 0, "pts": 1.5, "frame_index": 45, "kind": "appears",
                 "description": "tram #7 appears"}
            ]  # fmt: skip
            tables = {"frames": frames, "objects": objects, "events": events}
            writer.commit(
                f"{video:016x}",
                "plan",
                {
                    name: [pa.RecordBatch.from_pylist(rows, schema=schema(name, rows[0].keys()))]
                    for name, rows in tables.items()
                },
            )
    return open_dataset(tmp_path / "ds")


def test_words_and_labels_are_found_without_a_model(dataset: Dataset):
    hits = search(dataset, "a dog")
    assert {(h.video_id[-1], h.pts) for h in hits[:2]} == {("0", 1.0), ("1", 1.0)}
    assert hits[0].caption == CAPTIONS[2]
    lights = search(dataset, "traffic light", limit=2)
    assert [(h.video_id[-1], h.pts) for h in lights] == [("1", 3.5), ("0", 3.5)]
    assert lights[0].because == "light, traffic"
    assert {h.pts for h in search(dataset, "#7", limit=2)} == {1.5}
    assert search(dataset, "zebra") == []


def test_neighbouring_frames_are_one_hit(dataset: Dataset):
    hits = search(dataset, "car stops", limit=10)
    assert sorted((h.video_id[-1], h.pts) for h in hits) == [("0", 2.0), ("1", 2.0)]


def test_meaning_is_ranked_and_embedded_once(dataset: Dataset):
    letters = Letters()
    kept = dataset.path / "search" / "letters.arrow"
    finder = Search(dataset, {"text_embedder": letters}, kept)
    assert finder.text("sleeping dogs", limit=1)[0].pts == 1.0
    assert letters.texts == len(set(CAPTIONS) - {None}) + 1 + 1  # captions, the event, the query
    again = Letters()
    hits = search(dataset, "a running person", roles={"text_embedder": again}, kept=kept)
    assert again.texts == 1
    assert hits == finder.text("a running person")
    kept.write_bytes(b"cut off")
    damaged = search(dataset, "a running person", roles={"text_embedder": Letters()}, kept=kept)
    assert damaged == hits


def test_phrases_that_differ_in_numbers_alone_are_one(tmp_path: Path):
    frames = [
        {"frame_index": n, "pts": n / 2, "caption_brief": f"Dog #{n % 7} moves left at {n} px/s."}
        for n in range(200)
    ]
    with DatasetWriter(tmp_path / "ds") as writer:
        rows = pa.RecordBatch.from_pylist(frames, schema=schema("frames", frames[0].keys()))
        writer.commit("0" * 16, "plan", {"frames": [rows]})
    letters = Letters()
    (hit, *_) = search(open_dataset(tmp_path / "ds"), "a dog", roles={"text_embedder": letters})
    assert hit.because == "Dog moves left"
    assert letters.texts == 1 + 1


def test_an_image_finds_the_frame_that_looks_like_it(dataset: Dataset):
    rows = dataset.arrow("frames", columns=["pts", "embedding"]).to_pylist()
    wanted = rows[12]
    picture = np.tile(np.float32(wanted["embedding"]) * 255, (20, 20, 1)).astype(np.uint8)
    hits = search(dataset, image=picture, roles={"image_embedder": Colours()}, limit=3)
    assert hits[0].pts == wanted["pts"]
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_wrong_queries_say_what_to_do(dataset: Dataset, tmp_path: Path):
    with pytest.raises(UsageError, match="give one of them"):
        search(dataset)
    with pytest.raises(UsageError, match="empty"):
        search(dataset, "  ")
    with pytest.raises(UsageError, match="image_embedder"):
        search(dataset, image=np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "no.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match="not an image"):
        search(dataset, image=tmp_path / "no.png", roles={"image_embedder": Colours()})
