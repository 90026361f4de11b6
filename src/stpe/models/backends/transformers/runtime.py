"""What every transformers backend shares: loading, the device, uploads, batches.

One decode, one upload, all models: an image that several backends look at is copied to the device
once (`upload` keeps the most recent images there), and resizing and normalisation happen on the
device. Nothing here needs torchvision.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stpe.errors import MissingExtraError, ModelError
from stpe.video.frame import ImageHW3

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def import_torch() -> Any:
    """The torch module. Raises MissingExtraError where the extra is not installed."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            "this model runs in torch, which is not installed: pip install 'stpe[flagship]'"
        ) from error
    return torch


class Uploads:
    """The images most recently copied to one device, at most `budget` bytes of them."""

    def __init__(self, device: str, budget: int = 256 << 20) -> None:
        self._device = device
        self._budget = budget
        self._held: OrderedDict[int, tuple[ImageHW3, torch.Tensor]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, image: ImageHW3) -> torch.Tensor:
        """The image as a uint8 3xHxW tensor on the device, copied at most once while it is held.

        An image is known by its array object, so it must not be written to meanwhile.
        """
        torch = import_torch()
        with self._lock:
            found = self._held.get(id(image))
            if found is not None:
                self._held.move_to_end(id(image))
                return found[1]
        host = torch.from_numpy(np.ascontiguousarray(image))
        if self._device.startswith("cuda"):
            host = host.pin_memory()
        tensor = host.to(self._device, non_blocking=True).permute(2, 0, 1)
        with self._lock:
            if id(image) not in self._held:
                self._bytes += image.nbytes
            self._held[id(image)] = (image, tensor)
            while self._bytes > self._budget and len(self._held) > 1:
                _, (old, _) = self._held.popitem(last=False)
                self._bytes -= old.nbytes
        return tensor

    def clear(self) -> None:
        """Let go of every image."""
        with self._lock:
            self._held.clear()
            self._bytes = 0


_uploads: dict[str, Uploads] = {}


class Network:
    """One transformers model on one device, in inference mode.

    Args:
        kind: class name in transformers, such as "DINOv3ViTModel".
        folder: a folder with config.json and safetensors, as a hub repository has them.
        options: `device` (default cuda where there is one, else cpu), `dtype` ("float32" or
            "bfloat16"; default bfloat16 on a GPU, float32 on a CPU), `batch` (default 16 on a
            GPU, 1 on a CPU), `compile` (bool; default False).

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: the folder is incomplete, damaged, or of another model.
    """

    def __init__(self, kind: str, folder: Path, options: Mapping[str, Any]) -> None:
        torch = import_torch()
        self.device: str = options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = self.device.startswith("cuda")
        self.dtype: Any = getattr(
            torch, options.get("dtype") or ("bfloat16" if on_gpu else "float32")
        )
        self.batch: int = options.get("batch") or (16 if on_gpu else 1)
        self.folder = folder
        self.name = folder.name
        self.model: Any = self.read(kind).eval().to(self.device)
        if options.get("compile"):
            self.model = torch.compile(self.model, mode="max-autotune-no-cudagraphs")
        self.uploads = _uploads.setdefault(self.device, Uploads(self.device))
        self._lock = threading.Lock()

    def read(self, kind: str) -> Any:
        """The network on the CPU, from the folder; `config` is set with it. Raises as `Network`."""
        try:
            import transformers

            # Its progress bars and reports would go between our own lines; errors are raised.
            transformers.logging.set_verbosity_error()
            transformers.logging.disable_progress_bar()
        except ImportError as error:
            raise MissingExtraError(
                "this model needs transformers: pip install 'stpe[flagship]'"
            ) from error
        try:
            model, report = getattr(transformers, kind).from_pretrained(
                self.folder,
                dtype=self.dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except Exception as error:  # transformers and safetensors raise many types
            raise ModelError(f"{self.folder} cannot be loaded as {kind}: {error}") from error
        if report["missing_keys"]:
            some = ", ".join(sorted(report["missing_keys"])[:3])
            raise ModelError(f"{self.folder} lacks weights of {kind} ({some}); pull it again")
        self.config: Any = model.config
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
        from transformers import AutoTokenizer

        # Without its files transformers makes a tokenizer that knows no word.
        if not any((self.folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise ModelError(f"{self.folder} has no tokenizer.json; pull the model again")
        try:
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except Exception as error:  # transformers and tokenizers raise many types
            raise ModelError(f"the tokenizer in {self.folder} cannot be read: {error}") from error

    def pixels(
        self, images: Sequence[ImageHW3], size: tuple[int, int], settings: Mapping[str, Any]
    ) -> torch.Tensor:
        """N x 3 x height x width in the model's dtype, from images on the device; see `prepare`."""
        planes = (self.uploads.get(image)[None] for image in images)
        return import_torch().cat([self.prepare(plane, size, settings) for plane in planes])

    def prepare(
        self, planes_N3HW: torch.Tensor, size: tuple[int, int], settings: Mapping[str, Any]
    ) -> torch.Tensor:
        """uint8 planes in the model's dtype: resized to `size` (height, width) with antialiasing,
        in 0..1, normalised by `image_mean` and `image_std` where they are set."""
        torch = import_torch()
        mode = {2: "bilinear", 3: "bicubic"}.get(settings.get("resample", 2), "bilinear")
        planes = planes_N3HW.to(self.device, torch.float32) / 255
        if planes.shape[-2:] != size:
            planes = torch.nn.functional.interpolate(
                planes, size, mode=mode, antialias=True, align_corners=False
            ).clamp_(0, 1)
        if settings.get("do_normalize", "image_mean" in settings):
            mean, std = (
                torch.tensor(settings[key], device=self.device).view(1, -1, 1, 1)
                for key in ("image_mean", "image_std")
            )
            planes = (planes - mean) / std
        return planes.to(self.dtype)

    @contextmanager
    def inference(self, what: str) -> Iterator[None]:
        """A turn on the device, without gradients. `what` is named if memory runs out."""
        torch = import_torch()
        try:
            with self._lock, torch.inference_mode():
                yield
        except torch.OutOfMemoryError as error:
            self.uploads.clear()
            raise ModelError(
                f"{self.name}: {what} does not fit into the memory of {self.device}; use a "
                "smaller profile or --resolution"
            ) from error

    def batched(
        self, images: Sequence[ImageHW3], step: Callable[[Sequence[ImageHW3]], list[Any]]
    ) -> list[Any]:
        """`step` over the images in batches of one shape, results in order.

        A batch that does not fit into the device's memory is halved, and the smaller size is kept
        and logged. Calls from several threads take turns on the device.
        """
        torch = import_torch()
        results: list[Any] = []
        while len(results) < len(images):
            start = len(results)
            shape = images[start].shape
            stop = start + 1
            while stop < min(len(images), start + self.batch) and images[stop].shape == shape:
                stop += 1
            try:
                with self._lock, torch.inference_mode():
                    results += step(images[start:stop])
            except torch.OutOfMemoryError as error:
                if stop - start == 1:
                    raise ModelError(
                        f"{self.name}: one image of {shape[1]}x{shape[0]} does not fit into the "
                        f"memory of {self.device}; use a smaller profile or --resolution"
                    ) from error
                self.batch = (stop - start) // 2
                self.uploads.clear()
                if self.device.startswith("cuda"):
                    torch.cuda.empty_cache()
                log.warning("%s: out of memory, batch reduced to %d", self.name, self.batch)
        return results

    def close(self) -> None:
        """Free the weights and what the device holds for them."""
        self.model = None
        self.uploads.clear()
        if self.device.startswith("cuda"):
            import_torch().cuda.empty_cache()
