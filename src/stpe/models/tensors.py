"""Reading checkpoints as plain NumPy arrays, without the framework that wrote them.

A pickle can name any function of any module and have it called. The unpicklers here know a dozen
names, each mapped to something in this file that only makes arrays; every other name is refused,
so a file from anywhere can be read without running anything that is in it.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from stpe.errors import ModelError

Tensors = dict[str, NDArray[Any]]

#: torch's storage classes and dtypes; bfloat16 is read as its bits and widened to float32.
_STORAGES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


def read_torch(path: Path, *, modules: bool = False) -> Tensors:
    """Tensors of a torch checkpoint (`torch.save`, ZIP format), by dotted name.

    Nested dictionaries are joined with dots (`model.conv1.weight`); entries that are not tensors
    (epoch numbers, optimiser settings) are left out.

    Args:
        path: a `.pt` or `.pth` file.
        modules: also read files that hold whole pickled modules, by taking the parameters and
            buffers out of them. Classes such a file names are never imported: inert records
            stand in for them.

    Returns:
        Contiguous arrays in the stored dtype; bfloat16 as float32.

    Raises:
        ModelError: not such a file, damaged, or it names something other than tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            reader = _TorchReader(archive, modules)
            loaded = reader.load()
        return dict(_flatten(loaded, "", "."))
    except (zipfile.BadZipFile, pickle.UnpicklingError, OSError) as error:
        raise ModelError(f"{path.name} cannot be read as a torch checkpoint: {error}") from error
    except ModelError as error:
        raise ModelError(f"{path.name} is refused: {error}") from error
    except Exception as error:  # a hostile or damaged pickle can raise anything at all
        raise ModelError(
            f"{path.name} is a damaged torch checkpoint ({type(error).__name__}: {error})"
        ) from error


def read_numpy_pickle(path: Path) -> Tensors:
    """Arrays of a pickle of (nested dictionaries of) NumPy arrays, names joined with slashes.

    JAX and Haiku checkpoints are of this kind: `params/Conv3d_1a_7x7/Conv_0/kernel`.

    Raises:
        ModelError: damaged, or it names something other than numeric arrays.
    """
    try:
        loaded = _NumpyReader(io.BytesIO(path.read_bytes())).load()
        return dict(_flatten(loaded, "", "/"))
    except ModelError as error:
        raise ModelError(f"{path.name} is refused: {error}") from error
    except Exception as error:
        raise ModelError(
            f"{path.name} is not a pickle of NumPy arrays ({type(error).__name__}: {error})"
        ) from error


def read_safetensors(path: Path) -> Tensors:
    """Arrays of a safetensors file. Raises ModelError where it is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(str(path)))
    except (SafetensorError, OSError, TypeError) as error:
        raise ModelError(f"{path.name} cannot be read as safetensors: {error}") from error


def _flatten(value: Any, prefix: str, joint: str) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(value, _Array):
        value = value.array
    if isinstance(value, np.ndarray):
        yield prefix, value
        return
    if isinstance(value, _Inert):
        parts = (value.state.get(k) for k in ("_parameters", "_buffers", "_modules"))
        value = {k: v for part in parts if isinstance(part, Mapping) for k, v in part.items()}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}{joint}{key}" if prefix else str(key), joint)


class _Inert:
    """Stands in for an object of a class that is never imported; keeps its pickled state."""

    def __init__(self, *_: Any) -> None:
        self.state: Mapping[str, Any] = {}

    def __new__(cls, *_: Any) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, Mapping) else {}

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...


class _TorchReader(pickle.Unpickler):
    """`data.pkl` of a torch ZIP, with each raw storage in `data/<key>` beside it."""

    def __init__(self, archive: zipfile.ZipFile, modules: bool) -> None:
        pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ModelError("it holds no data.pkl, so torch did not write it")
        self._archive = archive
        self._root = pickles[0].removesuffix("data.pkl")
        self._modules = modules
        super().__init__(io.BytesIO(self._read("data.pkl")))
        names = archive.namelist()
        if f"{self._root}byteorder" in names and self._read("byteorder") != b"little":
            raise ModelError("it was written on a big-endian machine")

    def _read(self, name: str) -> bytes:
        info = self._archive.getinfo(self._root + name)
        # torch stores tensors uncompressed, so no entry can be larger than the file.
        if info.compress_type != zipfile.ZIP_STORED:
            raise ModelError(f"its entry {name} is compressed, which torch never does")
        return self._archive.read(info)

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return name
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
            ("torch", "Size"): tuple,
        }
        if (module, name) in known:
            return known[module, name]
        if self._modules:
            return _Inert
        raise ModelError(f"it asks for {module}.{name}, and only tensors are allowed")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        _, storage, key, _, count = pid
        if not isinstance(storage, str):
            raise ModelError("it has a storage of unknown type")
        data = np.frombuffer(self._read(f"data/{key}"), _STORAGES[storage])[:count]
        if storage == "BFloat16Storage":
            data = (data.astype(np.uint32) << 16).view(np.float32)
        return data


def _rebuild_tensor(
    storage: NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> NDArray[Any]:
    if any(s < 0 for s in (offset, *size, *stride)) or len(size) != len(stride):
        raise ModelError("it has a tensor with a negative extent")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and (last >= storage.size or math.prod(size) > storage.size):
        raise ModelError("it has a tensor that reaches past its storage")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    item = storage.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], size, [s * item for s in stride], writeable=False
    )
    return np.array(view, order="C")


class _Dtype:
    """A NumPy dtype's pickled form, limited to plain numbers."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biuf":
            raise ModelError(f"it has an array of {self.dtype}, and only numbers are allowed")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A NumPy array's pickled form."""

    array: NDArray[Any]

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        flat = np.frombuffer(cast(bytes, data), dtype.dtype)
        self.array = np.array(flat.reshape(shape, order="F" if fortran else "C"), order="C")


class _NumpyReader(pickle.Unpickler):
    """A pickle of dictionaries, lists and numeric arrays."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("numpy", "ndarray"): "ndarray",
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._KNOWN[module, name]
        except KeyError:
            raise ModelError(
                f"it asks for {module}.{name}, and only numeric arrays are allowed"
            ) from None
