"""What a model takes, measured once on each kind of device and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

from stpe.models.content import cache_folder

_VERSION = "1"


class Costs:
    """Peaks of one model on one kind of device.

    Args:
        device: its name.
        model: whatever makes another model or configuration another one.
        software: the version of what runs it.

    Attributes:
        peaks: item ("480x854x3", "a clip of 16 frames") to batch size to bytes allocated at most
            beyond the weights.
    """

    def __init__(self, device: str, model: str, software: str) -> None:
        self._about = {"device": device, "model": model, "software": software, "of": _VERSION}
        key = hashlib.sha256(
            json.dumps(self._about, sort_keys=True, allow_nan=False).encode()
        ).hexdigest()
        self._path = cache_folder() / "memory" / f"{key[:32]}.json"
        self._lock = threading.Lock()
        self.peaks: dict[str, dict[int, int]] = self._read()

    def peak(self, item: str, batch: int = 1) -> int | None:
        """Bytes for a batch: measured, or by the line through what was measured; None before."""
        known = self.peaks.get(item)
        if not known:
            return None
        if batch in known:
            return known[batch]
        sizes = sorted(known)
        if len(sizes) == 1:
            return known[sizes[0]] * batch // sizes[0]
        # The two measured sizes that lie nearest tell the slope there.
        low, high = sorted(sorted(sizes, key=lambda size: abs(size - batch))[:2])
        slope = max(0.0, (known[high] - known[low]) / (high - low))
        return max(0, int(known[high] + slope * (batch - high)))

    def measured(self, item: str, batch: int = 1) -> bool:
        """Whether that very batch was measured."""
        return batch in self.peaks.get(item, ())

    def note(self, item: str, batch: int, peak: int) -> None:
        """Keep what was measured; a cache that cannot be written only costs measuring again."""
        with self._lock:
            self.peaks.setdefault(item, {})[batch] = peak
            told = {**self._about, "peaks": self.peaks}
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                fresh = self._path.with_suffix(f".{threading.get_ident()}")
                fresh.write_text(json.dumps(told, indent=1, sort_keys=True, allow_nan=False))
                fresh.replace(self._path)
            except OSError:
                return

    def _read(self) -> dict[str, dict[int, int]]:
        try:
            told = json.loads(self._path.read_text())["peaks"]
            return {
                item: {int(n): int(p) for n, p in known.items()} for item, known in told.items()
            }
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return {}


def weights_bytes(folder: Path, bytes_each: int) -> int:
    """Bytes of a folder's safetensors once loaded with `bytes_each` an element, from their headers
    alone; of any other file its size. 0 for what cannot be read: loading will say so better."""
    if folder.is_file():
        return folder.stat().st_size
    total = 0
    for path in folder.glob("*.safetensors"):
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, 100 << 20)))
            for name, entry in header.items():
                if name != "__metadata__":
                    count = 1
                    for side in entry["shape"]:
                        count *= side
                    total += count * bytes_each
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return total
