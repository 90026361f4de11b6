"""What every torch backend shares: loading, the device, preprocessing, turns and batches.

One decode, one upload, all models: an image that several backends look at is copied to the device
once (`uploads.py`), and resizing and normalisation happen there. What a call takes is measured
the first time and planned for afterwards (`stpe.models.memory`). Nothing here needs torchvision.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import ModelError
from stpe.models.memory.costs import Costs, weights_bytes
from stpe.models.memory.planner import ModelMemory, memory_of
from stpe.models.torch_runtime.batches import Batches
from stpe.models.torch_runtime.graphs import Graphs
from stpe.models.torch_runtime.precision import run_in_bfloat16
from stpe.models.torch_runtime.streams import stream_on, working_on
from stpe.models.torch_runtime.torch_module import import_torch
from stpe.models.torch_runtime.transformers_module import from_transformers, transformers_alone
from stpe.models.torch_runtime.uploads import sent, uploads_to
from stpe.video.frame import ImageHW3

if TYPE_CHECKING:
    import torch

__all__ = ["Network", "import_torch"]


class Network:
    """One torch model on one device, in inference mode.

    Args:
        kind: class name in transformers, such as "DINOv3ViTModel".
        folder: a folder with config.json and safetensors, as a hub repository has them.
        options: `device` (default cuda where there is one, else cpu), `dtype` ("float32" or
            "bfloat16"; default bfloat16 on a GPU, float32 on a CPU), `batch` (items at once at
            most; default 32 on a GPU, 1 on a CPU). On a GPU also `compile` and `graphs` (bool;
            default False): the `parts` run compiled by torch, or are replayed as CUDA graphs.
        parts: paths of the submodules whose forward does the work; "" is the model itself.
        coarse: paths of the submodules that bfloat16 is good enough for. Where they are named and
            `dtype` is bfloat16, the weights are float32, these run under autocast in bfloat16 and
            answer in float32, and the rest is float32 throughout.
        beside: a network on the same device that hands it tensors; they share a stream.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: the folder is incomplete, damaged, or of another model.
        OutOfMemoryError: the weights do not fit into the device's memory.
    """

    def __init__(
        self,
        kind: str,
        folder: Path,
        options: Mapping[str, Any],
        parts: Sequence[str] = ("",),
        coarse: Sequence[str] = (),
        beside: Network | None = None,
    ) -> None:
        torch = import_torch()
        self.device: str = options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = self.device.startswith("cuda")
        self.dtype: Any = getattr(
            torch, options.get("dtype") or ("bfloat16" if on_gpu else "float32")
        )
        self._coarse = tuple(coarse) if self.dtype == torch.bfloat16 else ()
        if self._coarse:
            self.dtype = torch.float32
        self.batch: int = options.get("batch") or (32 if on_gpu else 1)
        self.folder = folder
        self.name = _name(folder)
        self.weights_bytes = weights_bytes(folder, self.dtype.itemsize)
        self.uploads = uploads_to(self.device)
        self.lock = threading.Lock()
        self._kind = kind
        self._memory = memory_of(self.device)
        self._fixed = on_gpu and bool(options.get("compile") or options.get("graphs"))
        self._replayed = self._fixed and bool(options.get("graphs"))
        self._stream: Any = stream_on(self.device) if beside is None else beside._stream
        self._statistics: dict[tuple[float, ...], Any] = {}
        begun = time.perf_counter()
        with self._memory.loading(self, self.weights_bytes):
            self.model: Any = self._ready().to(self.device)
            self.weights_bytes = sum(_storages(self.model).values())
            self._costs = Costs(self._memory.device.name, self._identity(options), _software(torch))
            self._batches = Batches(self, self._memory, self._costs, self.batch, self._fixed)
            self._loading_s = time.perf_counter() - begun
            _live.add(self)
        for part in parts if self._fixed else ():
            module = self.model.get_submodule(part)
            if options.get("compile"):
                module.compile(mode="max-autotune-no-cudagraphs")
            if options.get("graphs"):
                module.forward = Graphs(module.forward)

    def read(self, kind: str) -> Any:
        """The network on the CPU, from the folder; `config` is set with it. Raises as `Network`."""
        for needed in ("config.json", "*.safetensors"):
            if not any(self.folder.glob(needed)):
                what = needed.replace("*.", "")
                raise ModelError(f"{self.folder} has no {what}; `stpe models pull` fetches it")
        network = from_transformers(kind)
        try:
            # Loading imports more of transformers.
            with transformers_alone():
                model, report = network.from_pretrained(
                    self.folder,
                    dtype=self.dtype,
                    use_safetensors=True,
                    local_files_only=True,
                    output_loading_info=True,
                )
        except Exception as error:  # transformers and safetensors raise many types
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ModelError(
                f"{self.folder} is damaged or of another model than {kind} ({first}); `stpe models "
                "verify` finds damaged files of a hub, and `stpe models pull` fetches them again"
            ) from error
        if report["missing_keys"]:
            some = ", ".join(sorted(report["missing_keys"])[:3])
            raise ModelError(f"{self.folder} lacks weights of {kind} ({some}); pull it again")
        self.config: Any = model.config
        return model

    def _ready(self) -> Any:
        """The network on the CPU, ready for inference."""
        model = self.read(self._kind).eval()
        for part in self._coarse:
            run_in_bfloat16(model.get_submodule(part), self.device)
        return model

    def processor(self, kind: str = "image") -> dict[str, Any]:
        """The folder's settings for preprocessing an "image" or "video", from a file of their own
        or from processor_config.json. Raises ModelError where they are missing."""
        own = f"{'' if kind == 'image' else kind + '_'}preprocessor_config.json"
        for name in (own, "processor_config.json"):
            path = self.folder / name
            if not path.is_file():
                continue
            try:
                settings = json.loads(path.read_text())
                found = settings if name == own else settings.get(f"{kind}_processor")
            except (OSError, ValueError, AttributeError) as error:
                raise ModelError(f"{path} cannot be read: {error}") from error
            if isinstance(found, dict):
                return found
        raise ModelError(f"{self.folder} has no {own}; pull the model again")

    def tokenizer(self) -> Any:
        """The folder's tokenizer. Raises ModelError where it is missing or damaged."""
        # Without its files transformers makes a tokenizer that knows no word.
        if not any((self.folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise ModelError(f"{self.folder} has no tokenizer.json; pull the model again")
        try:
            with transformers_alone() as transformers:
                return transformers.AutoTokenizer.from_pretrained(
                    self.folder, local_files_only=True
                )
        except Exception as error:  # transformers and tokenizers raise many types
            raise ModelError(f"the tokenizer in {self.folder} cannot be read: {error}") from error

    def pixels(
        self, images: Sequence[ImageHW3], size: tuple[int, int], settings: Mapping[str, Any]
    ) -> torch.Tensor:
        """N x 3 x height x width in the model's dtype, from images on the device; see `prepare`."""
        planes = [self.uploads.get(image) for image in images]
        return self.prepare(import_torch().stack(planes), size, settings)

    def sent(self, host: NDArray[Any]) -> torch.Tensor:
        """An array on the device, without waiting for the copy; it is not written to again."""
        return sent(import_torch().from_numpy(np.ascontiguousarray(host)), self.device)

    def prepare(
        self, planes_N3HW: torch.Tensor, size: tuple[int, int], settings: Mapping[str, Any]
    ) -> torch.Tensor:
        """uint8 planes on the device in the model's dtype: resized to `size` (height, width) with
        antialiasing, in 0..1, normalised by `image_mean` and `image_std` where they are set. All
        of them at once."""
        torch = import_torch()
        mode = {2: "bilinear", 3: "bicubic"}.get(settings.get("resample", 2), "bilinear")
        planes = planes_N3HW.float() / 255
        if planes.shape[-2:] != size:
            planes = torch.nn.functional.interpolate(
                planes, size, mode=mode, antialias=True, align_corners=False
            ).clamp_(0, 1)
        if settings.get("do_normalize", "image_mean" in settings):
            mean, std = (self._colours(settings[key]) for key in ("image_mean", "image_std"))
            planes = (planes - mean) / std
        return planes.to(self.dtype)

    def _colours(self, values: Sequence[float]) -> torch.Tensor:
        """One number a channel on the device, copied there once."""
        key = tuple(values)
        if key not in self._statistics:
            held = np.array(key, np.float32).reshape(1, -1, 1, 1)
            self._statistics[key] = self.sent(held)
        return self._statistics[key]

    def kept(self, answer: torch.Tensor) -> torch.Tensor:
        """An answer of one of the `parts` that is read after this turn: a replayed graph writes its
        next answer to the same place."""
        return answer.clone() if self._replayed else answer

    def on_its_stream(self) -> AbstractContextManager[None]:
        """Work inside runs beside that of other networks on the device, and is done at the end."""
        return working_on(self._stream)

    def batched(
        self,
        items: Sequence[Any],
        step: Callable[[Sequence[Any]], list[Any]],
        kind: str | None = None,
        most: int | None = None,
    ) -> list[Any]:
        """`step` over the items in batches of one shape, results in order; see `Batches.run`.

        Items that several threads bring at once share batches. A batch that does not fit into the
        device's memory is halved, which is noted (`stpe.models.notes`) and kept.

        Raises:
            OutOfMemoryError: one item does not fit; the message names the model, the item, and the
                bytes that it needs and that are free.
        """
        return self._batches.run(items, step, kind, most)

    def call(
        self, what: str, work: Callable[[], Any], smaller: Callable[[], str | None] | None = None
    ) -> Any:
        """`work()` in a turn of its own on the device, without gradients.

        `what` names the work: its memory is measured the first time and planned for afterwards.
        Where memory runs out, idle models are moved out for it, then `smaller` makes it need less
        until it returns None, and each time it is tried again from its beginning, which is noted.
        Another network's turn does not belong inside.

        Raises:
            OutOfMemoryError: as `batched`.
        """
        return self._batches.run([None], lambda _: [work()], what, smaller=smaller)[0]

    @property
    def movable(self) -> bool:
        """Whether it can be moved off the device: it shares no weights, and nothing compiled holds
        their addresses. A CPU model is read again from its files."""
        if self.device == "cpu" and type(self).read is not Network.read:
            return False
        return not self._fixed and not self._shares()

    def pinned(self) -> AbstractContextManager[None]:
        """It stays on the device meanwhile, idle as it is; not for inside a turn."""
        return self._memory.pinned(self)

    def _shares(self) -> bool:
        mine = _storages(self.model).keys()
        others = [n.model for n in list(_live) if n is not self and n.model is not None]
        return any(mine & _storages(model).keys() for model in others)

    def move_out(self) -> None:
        """Free the device's memory. The planner calls this, between turns."""
        self.model = self.model.to("cpu") if self.device.startswith("cuda") else None

    def move_in(self) -> None:
        """Bring the weights back. The planner calls this, before a turn."""
        if self.model is None:
            self.model = self._ready()
        self.model = self.model.to(self.device)

    def memory(self, resident: bool) -> ModelMemory:
        """What it takes, for `memory_stats`."""
        return ModelMemory(
            self.name,
            self.weights_bytes,
            resident,
            dict(self._batches.sizes),
            {item: dict(known) for item, known in self._costs.peaks.items()},
            self._loading_s,
            self._batches.warm_up_s,
        )

    def close(self) -> None:
        """Free the weights and what the device holds for them."""
        with self.lock:
            self.model = None
            self.uploads.clear()
            self._memory.leave(self)

    def _identity(self, options: Mapping[str, Any]) -> str:
        """What another peak would follow from: the architecture, its settings, the options."""
        config = self.folder / "config.json"
        told_of = config.read_bytes() if config.is_file() else str(self.weights_bytes).encode()
        kept = sorted((k, v) for k, v in options.items() if k not in ("device", "batch"))
        parts = [self._kind, hashlib.sha256(told_of).hexdigest(), str(self.dtype), repr(kept)]
        return "\n".join([*parts, *self._coarse])


def _name(folder: Path) -> str:
    """Of the hub's repository, or of the folder."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    return folder.name


def _storages(model: Any) -> dict[int, int]:
    """Bytes of each piece of memory that holds weights or buffers, by address."""
    found = {}
    for tensor in (*model.parameters(), *model.buffers()):
        storage = tensor.untyped_storage()
        if storage.nbytes():
            found[storage.data_ptr()] = storage.nbytes()
    return found


_live: weakref.WeakSet[Network] = weakref.WeakSet()


def _software(torch: Any) -> str:
    with transformers_alone() as transformers:
        return f"torch {torch.__version__}, transformers {transformers.__version__}"
