"""Which profile `auto` takes, and what it says of the others."""

import importlib.util
from dataclasses import replace

import cv2
import numpy as np
import pytest

from stpe.errors import ModelError
from stpe.models.catalog import HubSource, UrlSource, catalog
from stpe.models.loader import refuse_gaps, resolve
from stpe.models.machine import Gpu, best, gpu

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = Gpu("a data-centre GPU", 80.0)


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    """A machine without weights."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("STPE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def have(root, profile):
    """Put the profile's weights where downloads would: small files under the same names."""
    for model_id in [*profile.roles.values(), *profile.instead.values()]:
        for file in catalog().model(model_id).files:
            source = file.sources[0]
            if isinstance(source, HubSource):
                home = root / "hub" / f"models--{source.hub.replace('/', '--')}"
                commit = COMMIT if source.revision == "main" else source.revision
                snapshot = home / "snapshots" / commit
                snapshot.mkdir(parents=True, exist_ok=True)  # two roles may share a repository
                (snapshot / "model.safetensors").write_bytes(b"")
                (home / "refs").mkdir(exist_ok=True)
                (home / "refs" / source.revision).write_text(commit)
            elif isinstance(source, UrlSource):
                path = root / "cache" / "weights" / source.sha256_starts.ljust(64, "0") / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")


def test_without_a_gpu_it_is_the_embedded_profile_and_says_why():
    found = gpu()
    if isinstance(found, Gpu):
        pytest.skip(f"this machine has {found.name}")
    selection = resolve("auto")
    assert selection.profile == "embedded"
    assert f"not flagship: {found}" in selection.reason
    assert f"not balanced: {found}" in selection.reason


def test_a_gpu_that_is_too_small_or_whose_weights_are_not_here():
    name, why = best(Gpu("a laptop's GPU", 8.0))
    assert name == "embedded"
    assert "not flagship: it needs 60 GB of GPU memory and a laptop's GPU has 8" in why
    pytest.importorskip("torch", reason="the flagship extra is not installed")
    pytest.importorskip("transformers", reason="the flagship extra is not installed")
    name, why = best(LARGE)
    assert name == "embedded"
    for profile in ("flagship", "balanced"):
        assert f"`stpe models pull --profile {profile}` fetches them" in why


def test_with_weights_it_is_the_best_that_is_whole(empty):
    pytest.importorskip("torch", reason="the flagship extra is not installed")
    pytest.importorskip("transformers", reason="the flagship extra is not installed")
    have(empty, catalog().profile("balanced"))
    name, why = best(LARGE)
    assert name == "balanced"
    assert "a data-centre GPU, 80 GB" in why
    assert "not flagship: the weights of dinov3-vit7b16 are not here" in why
    assert best(Gpu("a small GPU", 10.0))[0] == "embedded"
    # Weights of the user's own stand in for those of the profile.
    lacking = [r for r, m in catalog().profile("flagship").roles.items() if r != "segmenter"]
    assert best(LARGE, lacking)[0] == "flagship"


def test_a_package_that_is_missing_is_made_up_for_and_said():
    selection = resolve("flagship")
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        assert selection.models["flow"].id == "raft-things"
        assert "flow is raft-things, as for raft-large torch" in selection.reason
        assert any("flow is raft-things" in line for line in selection.falls)
    else:
        assert selection.models["flow"].id == "raft-large"


def test_a_named_gpu_profile_with_gaps_refuses_before_it_runs(monkeypatch, tmp_path, capfd):
    from stpe import cli

    real = importlib.util.find_spec
    lacking = ("torch", "transformers")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n in lacking else real(n, *a)
    )
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(3):
        cv2.imwrite(str(frames / f"{number}.png"), np.full((48, 64, 3), 80 * number, np.uint8))
    call = ["process", str(frames), "--out", str(tmp_path / "out"), "--profile", "flagship"]
    assert cli.run(call) == ModelError.exit_code
    *before, refusal = capfd.readouterr().err.strip().splitlines()
    assert any("runs on the CPU" in line or "run on the CPU" in line for line in before)
    assert "pip install 'stpe[flagship]'" in refusal
    assert refusal.count("torch is not installed") == 1
    assert "captioner" in refusal
    assert "detector" in refusal
    missing = {"detector": "rf-detr-large: its weights cannot be had", "pose": "turned off"}
    gaps = replace(resolve("flagship"), missing=missing, named=frozenset(["pose"]))
    with pytest.raises(ModelError, match="detector: its weights cannot be had"):
        refuse_gaps(gaps, ["detector", "pose"])
    refuse_gaps(gaps, ["pose"])
    refuse_gaps(replace(gaps, asked=False), ["detector"])


def test_results_of_another_version_of_a_backend_are_others() -> None:
    model = catalog().model("sam3")
    first, next_one = (model.model_copy(update={"version": v}) for v in (1, model.version + 1))
    assert len({first.fingerprint, model.fingerprint, next_one.fingerprint}) == 3
