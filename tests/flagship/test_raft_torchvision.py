"""torchvision's RAFT through the real loading path equals a direct call, and our own graphs."""

import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
try:
    from torchvision.models import optical_flow
except (ImportError, RuntimeError) as error:
    pytest.skip(f"a torchvision that fits torch is not here: {error}", True)

from stpe.errors import ModelError, OutOfMemoryError, UsageError  # noqa: E402
from stpe.models import loader  # noqa: E402
from stpe.models.backends.torchvision import raft  # noqa: E402
from stpe.models.notes import noted  # noqa: E402
from stpe.models.weights import fetch  # noqa: E402


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return optical_flow.raft_small().eval()


def save(network, folder, name):
    path = folder / name
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    else:
        torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["small.safetensors", "small.pth"])
def test_flow_equals_torchvision(tmp_path, network, name):
    a, b = np.random.default_rng(0).integers(0, 255, (2, 128, 160, 3), dtype=np.uint8)
    options = {"network": "raft_small", "iterations": 3}
    estimator = raft.load({"weights": save(network, tmp_path, name)}, options)
    planes = [torch.from_numpy(i).permute(2, 0, 1)[None].float() / 127.5 - 1 for i in (a, b)]
    with torch.inference_mode():
        expected = network(*planes, num_flow_updates=3)[-1][0].permute(1, 2, 0)
    np.testing.assert_allclose(estimator.flow(a, b), expected, atol=1e-4)

    odd = estimator.flow(a[:99, :133], b[:99, :133])
    assert odd.shape == (99, 133, 2)
    small = raft.load({"weights": tmp_path / name}, {**options, "pixels": 80 * 100}).flow(a, b)
    assert small.shape == (128, 160, 2)
    with pytest.raises(UsageError, match="one size"):
        estimator.flow(a, b[1:])


@pytest.mark.parametrize("kind", ["raft_small", "raft_large"])
def test_a_run_of_pairs_encodes_each_frame_once(tmp_path, kind):
    torch.manual_seed(0)
    direct = getattr(optical_flow, kind)().eval()
    options = {"network": kind, "iterations": 2, "batch": 4}
    estimator = raft.load({"weights": save(direct, tmp_path, "a.safetensors")}, options)
    frames = list(np.random.default_rng(0).integers(0, 255, (4, 128, 136, 3), dtype=np.uint8))
    encoded = []
    estimator._network.model.feature_encoder.register_forward_pre_hook(
        lambda _, given: encoded.append(len(given[0]))
    )
    pairs = [raft._Pair(a, b) for a, b in [*pairwise(frames), (frames[3], frames[0])]]
    found = [estimator.flow(pair.a, pair.b) for pair in pairs]
    together = estimator._network.batched(pairs, estimator._flow)
    estimator._known.clear()
    afresh = estimator._network.batched(pairs, estimator._flow)
    assert encoded == [2, 1, 1, 4]
    for pair, *answers in zip(pairs, found, together, afresh, strict=True):
        planes = [
            torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
            for image in (pair.a, pair.b)
        ]
        with torch.inference_mode():
            expected = direct(*planes, num_flow_updates=2)[-1][0].permute(1, 2, 0)
        for answer in answers:
            np.testing.assert_allclose(answer, expected, atol=1e-4)
    assert estimator._network.model.corr_block.corr_pyramid == []


def test_pairs_that_do_not_fit_are_taken_fewer_at_once(tmp_path, network, monkeypatch):
    options = {"network": "raft_small", "iterations": 1, "batch": 4}
    estimator = raft.load({"weights": save(network, tmp_path, "a.safetensors")}, options)
    images = np.random.default_rng(0).integers(0, 255, (5, 128, 136, 3), dtype=np.uint8)
    pairs = [raft._Pair(a, b) for a, b in pairwise(images)]
    expected = [estimator.flow(pair.a, pair.b) for pair in pairs]
    build, holds = type(network.corr_block).build_pyramid, [2]

    def small(self, a, b):
        if len(a) > holds[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB.")
        build(self, a, b)

    monkeypatch.setattr(type(network.corr_block), "build_pyramid", small)
    with noted() as notes:
        found = estimator._network.batched(pairs, estimator._flow)
    assert [n.partition(": ")[2] for n in notes] == [
        "4 x flow 128x136x3 did not fit into the memory of cpu; the batch was reduced to 2"
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    holds[0] = 0
    with pytest.raises(OutOfMemoryError, match=r"flow 128x136x3 needs at least 1\.61 GB"):
        estimator.flow(images[0], images[1])


def test_files_that_are_something_else_are_refused(tmp_path, network):
    path = save(network, tmp_path, "small.pth")
    with pytest.raises(ModelError, match="no weights of raft_large"):
        raft.load({"weights": path}, {})
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ModelError, match="cannot be read as weights"):
        raft.load({"weights": path}, {"network": "raft_small"})

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save(Bomb(), path)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        raft.load({"weights": path}, {"network": "raft_small"})
    assert not (tmp_path / "ran").exists()


_NAMES = (  # the authors' names, and torchvision's for the same layers
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"(_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"(_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"(_encoder)\.conv2\.", r"\1.conv."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm([12])\.", r"\1.convnormrelu\2.1."),
    (r"encoder\.conv([cf])(\d)\.", lambda m: f"encoder.conv{_KIND[m[1]]}{m[2]}.0."),
    (r"update_block\.encoder\.conv\.", "update_block.encoder.conv.0."),
    (r"update_block\.encoder\.", "update_block.motion_encoder."),
    (r"gru\.conv([zrq])([12])", r"recurrent_block.convgru\2.conv\1"),
    (r"update_block\.mask\.0", "mask_predictor.convrelu.0"),
    (r"update_block\.mask\.2", "mask_predictor.conv"),
)
_KIND = {"c": "corr", "f": "flow"}


@pytest.mark.weights
def test_our_graphs_compute_the_same_as_torchvision(tmp_path):
    """The authors' checkpoint in torchvision's network and in our OpenVINO graphs."""
    entry = loader.resolve("embedded", {"flow": "raft-things"}).models["flow"]
    (file,) = fetch(entry).values()
    weights = {}
    for name, value in raft.read_weights(file).items():
        if ".norm3." in name:  # the downsampling branch names its norm twice
            continue
        for pattern, new in _NAMES:
            name = re.sub(pattern, new, name)
        weights[name] = value
    torch.save(weights, tmp_path / "large.pth")
    theirs = raft.load({"weights": tmp_path / "large.pth"}, {"iterations": 6})
    ours = loader.load(entry.model_copy(update={"options": {"iterations": 6}}))
    y, x = np.mgrid[:128, :160].astype(np.float64)

    def image(shift: float) -> np.ndarray:
        waves = [np.sin((x - shift) / k) * math.e ** np.cos(y / (k + 2)) for k in (3, 5, 9)]
        return np.uint8(np.clip(127 + 40 * np.stack(waves, -1), 0, 255))

    found = theirs.flow(image(0), image(4))
    np.testing.assert_allclose(ours.flow(image(0), image(4)), found, atol=2e-3)
    assert abs(np.median(found[..., 0]) - 4) < 0.5
