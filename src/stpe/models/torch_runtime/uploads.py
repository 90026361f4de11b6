"""One upload, all models: an image that several backends look at is copied to the device once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from stpe.models.torch_runtime.torch_module import import_torch
from stpe.video.frame import ImageHW3

if TYPE_CHECKING:
    import torch


def sent(host: torch.Tensor, device: str) -> torch.Tensor:
    """A tensor of the CPU on a device, without waiting: to a GPU through pinned memory."""
    if not device.startswith("cuda"):
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


class Uploads:
    """The images most recently copied to one device, at most `budget` bytes of them.

    On a GPU an image goes through pinned memory on a stream of its own, so that the next batch's
    images travel while the device works on this one's.
    """

    def __init__(self, device: str, budget: int = 256 << 20) -> None:
        self._device = device
        self._budget = budget
        self._held: OrderedDict[int, tuple[ImageHW3, torch.Tensor, Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._stream: Any = None
        self.copied = 0  # images, for tests and benchmarks: looked at often, copied once

    def get(self, image: ImageHW3) -> torch.Tensor:
        """The image as a uint8 3xHxW tensor on the device, copied at most once while it is held.

        An image is known by its array object, so it must not be written to meanwhile.
        """
        with self._lock:
            found = self._held.get(id(image))
            if found is None:
                tensor, ready = self._copy(image)
                self._held[id(image)] = image, tensor, ready
                self._bytes += image.nbytes
                self.copied += 1
                while self._bytes > self._budget and len(self._held) > 1:
                    self._bytes -= self._held.popitem(last=False)[1][0].nbytes
            else:
                self._held.move_to_end(id(image))
                _, tensor, ready = found
        if ready is not None:
            stream = import_torch().cuda.current_stream(self._device)
            stream.wait_event(ready)
            tensor.record_stream(stream)
        return tensor

    def _copy(self, image: ImageHW3) -> tuple[torch.Tensor, Any]:
        torch = import_torch()
        host = torch.from_numpy(np.ascontiguousarray(image))
        if not self._device.startswith("cuda"):
            return host.to(self._device).permute(2, 0, 1), None
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)
        with torch.cuda.stream(self._stream):
            tensor = sent(host, self._device).permute(2, 0, 1)
            return tensor, self._stream.record_event()

    def clear(self) -> None:
        """Let go of every image."""
        with self._lock:
            self._held.clear()
            self._bytes = 0


_uploads: dict[str, Uploads] = {}
_uploads_lock = threading.Lock()


def uploads_to(device: str) -> Uploads:
    """This process's uploads to a device."""
    with _uploads_lock:
        return _uploads.setdefault(device, Uploads(device))
