"""I3D: the right names for clear actions, an embedding that tells clips apart."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from stpe.errors import UsageError
from stpe.models import loader
from stpe.models.backends.openvino.session import Session

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def model():
    return loader.load(loader.resolve("embedded").models["clip_classifier"])


@pytest.fixture(scope="module")
def clips(shared_data):
    """Two and a half seconds of two clips, 64 frames each."""
    found = {}
    for name in ("vipe_dog-example", "sam2_05_default_juggle"):
        capture, frames = cv2.VideoCapture(str(shared_data / f"plain_clips/{name}.mp4")), []
        while len(frames) < 64:
            frame = cv2.resize(capture.read()[1], (320, 180), interpolation=cv2.INTER_AREA)
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        found[name] = np.stack(frames)
    return found


def test_the_graph_computes_what_the_published_code_computes(model):
    """The figures are those of the JAX network that the checkpoint comes with."""
    t, y, x = np.mgrid[:16, :224, :224].astype(np.float64)
    waves = (0.05 * x + 0.3 * t, 0.08 * y - 0.2 * t, 0.03 * (x + y) + 0.5 * t)
    clip = np.rint(127 + 110 * np.sin(np.stack(waves, axis=-1))).astype(np.uint8)
    exact = Session(model._session._model, precision="f32")
    embedding, probabilities, logits = (out[0] for out in exact.run([clip[None]]))
    assert np.argsort(-probabilities)[:4].tolist() == [374, 69, 16, 373]
    np.testing.assert_allclose(
        probabilities[[374, 69, 16, 373]], [0.9368, 0.0176, 0.01735, 0.01038], atol=2e-4
    )
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), probabilities, atol=1e-5)
    np.testing.assert_allclose(embedding[[16, 769, 894]], [3.0075, 2.6884, 2.6462], atol=1e-3)


def test_names_what_is_done(model, clips):
    assert (model.length, model.dimension, len(model.labels)) == (32, 1024, 400)
    for name, label in (
        ("vipe_dog-example", "walking the dog"),
        ("sam2_05_default_juggle", "juggling soccer ball"),
    ):
        result = model.classify(clips[name], top_k=3)
        assert result.classes[0][0] == label
        assert result.classes[0][1] > 0.4
        assert len(result.classes) == 3
        assert abs(np.linalg.norm(result.embedding_D) - 1) < 1e-5


def test_embeddings_of_one_action_are_nearer_than_of_two(model, clips):
    dog, ball = clips["vipe_dog-example"], clips["sam2_05_default_juggle"]
    early, late, other = (
        model.classify(clip).embedding_D for clip in (dog[:40], dog[24:], ball[:40])
    )
    assert early @ late > early @ other + 0.2


def test_threads_and_precision(model, clips):
    dog = clips["vipe_dog-example"]
    alone = [model.classify(dog[i : i + 32]) for i in (0, 16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: model.classify(dog[i : i + 32]), (0, 16)))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.embedding_D, b.embedding_D)
        assert a.classes == b.classes
    exact = loader.load(loader.resolve("embedded").models["clip_classifier"])
    exact._session = Session(exact._session._model, precision="f32")
    assert exact.classify(dog[:32]).embedding_D @ alone[0].embedding_D > 0.99


def test_a_single_frame_is_a_clip_and_none_is_refused(model, clips):
    assert model.classify(clips["vipe_dog-example"][:1]).embedding_D.shape == (1024,)
    with pytest.raises(UsageError, match="at least one frame"):
        model.classify(np.zeros((0, 10, 10, 3), np.uint8))
