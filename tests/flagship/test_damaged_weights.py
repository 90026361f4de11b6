"""Weights that are not what they should be: one line each, and nothing of a pickle is run."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe.errors import ModelError  # noqa: E402
from stpe.models.loader import load, resolve  # noqa: E402

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture
def folder(save: Callable[..., tuple[Path, Any]]) -> Path:
    config = transformers.DINOv3ViTConfig(**SMALL, intermediate_size=64, num_register_tokens=4)
    return save("DINOv3ViTModel", config)[0]


def says(folder: Path) -> str:
    """What loading the folder through the catalog raises."""
    model = resolve("flagship", {"image_embedder": str(folder)}).models["image_embedder"]
    with pytest.raises(ModelError) as raised:
        load(model)
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)
    return str(raised.value)


def test_a_whole_folder_loads(folder: Path) -> None:
    model = resolve("flagship", {"image_embedder": str(folder)}).models["image_embedder"]
    embedder = load(model)
    assert embedder.dimension == 32
    embedder.close()


def test_weights_that_were_cut_off_or_are_none(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:4], b"", b"\xff" * len(whole)):
        weights.write_bytes(damaged)
        assert "damaged or of another model" in says(folder)


def test_a_pickle_in_place_of_weights_is_never_opened(folder: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (folder / "ran",))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert "no safetensors" in says(folder)
    assert not (folder / "ran").exists()


def test_weights_and_settings_of_another_model(folder: Path) -> None:
    wide = transformers.DINOv3ViTConfig(**{**SMALL, "hidden_size": 48}, intermediate_size=64)
    wide.save_pretrained(folder)
    assert "damaged or of another model" in says(folder)
    for text in ("{", '{"model_type": "nonsense"}'):
        (folder / "config.json").write_text(text)
        says(folder)


def test_a_folder_that_lacks_a_file(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    assert "preprocessor_config.json" in says(folder)
    (folder / "config.json").unlink()
    assert "config.json" in says(folder)
