"""Models that several threads load at once, in a process that has not imported transformers yet."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flagship_reference import tiny_rf_detr

transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe.errors import ModelError  # noqa: E402
from stpe.models.torch_runtime.network import Network  # noqa: E402

_LOAD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from stpe.models.torch_runtime.network import Network

kinds = sys.argv[2:] * 2
begin = Barrier(len(kinds))


def load(kind):
    begin.wait()
    return Network(kind, Path(sys.argv[1]) / kind, {"dtype": "float32"}).name


with ThreadPoolExecutor(len(kinds)) as pool:
    print(*pool.map(load, kinds))
"""


def test_a_fresh_process_loads_in_many_threads(
    save: Callable[..., tuple[Path, Any]], tmp_path: Path
) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    configs = {
        "DINOv3ViTModel": transformers.DINOv3ViTConfig(**small, intermediate_size=64),
        "RfDetrForObjectDetection": tiny_rf_detr(["car"]),
        "Dinov2Model": transformers.Dinov2Config(**small, mlp_ratio=2, image_size=70),
        "CLIPTextModel": transformers.CLIPTextConfig(**small, intermediate_size=64),
    }
    for kind, config in configs.items():
        save(kind, config)
    command = [sys.executable, "-c", _LOAD, str(tmp_path), *configs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [*configs] * 2


def test_a_class_that_the_library_lacks_is_not_blamed_on_the_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=r"transformers \S+ cannot give NoSuchModel") as raised:
        Network("NoSuchModel", tmp_path, {"dtype": "float32"})
    assert "damaged" not in str(raised.value)
