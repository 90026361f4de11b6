"""STPE, the Spatio-Temporal Perception Engine: raw video in, structured and measured data out."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stpe.dataset.reader import open_dataset as open_dataset
    from stpe.engine import Engine as Engine
    from stpe.video.opening import open_source as open_source

__version__ = "0.1.0"
__all__ = ["Engine", "__version__", "open_dataset", "open_source"]

_HOMES = {
    "Engine": "stpe.engine",
    "open_dataset": "stpe.dataset.reader",
    "open_source": "stpe.video.opening",
}


def __getattr__(name: str) -> Any:
    # On first use: reading a dataset must not load an inference runtime, nor `--help` a decoder.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'stpe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
