"""Checkpoints are read as arrays, and nothing in them is ever run."""

import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from stpe.errors import ModelError
from stpe.models.tensors import read_numpy_pickle, read_safetensors, read_torch


class _Global:
    """Pickles as a reference to `module.name`."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class _Storage:
    def __init__(self, kind, key, count):
        self.pid = ("storage", _Global("torch", kind), key, "cpu", count)


class _Call:
    """Pickles as a call of `module.name(*args)`."""

    def __init__(self, module, name, *args):
        self.target, self.args = _Global(module, name), args


class _Writer(pickle._Pickler):
    """Writes the pickles that torch writes, and the ones an attacker would."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, _Storage) else None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, _Global):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Call):
            self.save(obj.target)
            self.save(obj.args)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def _tensor(kind, key, count, offset, size, stride):
    storage = _Storage(kind, key, count)
    return _Call(
        "torch._utils", "_rebuild_tensor_v2", storage, offset, size, stride, False, OrderedDict()
    )


def _write(path, content, storages, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("m/data.pkl", "w") as f:
        _Writer(f, 2).dump(content)
    with zipfile.ZipFile(path, "a", method) as archive:
        for key, array in storages.items():
            archive.writestr(f"m/data/{key}", array.tobytes())
    return path


def test_reads_strided_tensors_and_bfloat16(tmp_path):
    values = np.arange(12, dtype=np.float32)
    halves = (np.float32([1.5, -2.0]).view(np.uint32) >> 16).astype(np.uint16)
    path = _write(
        tmp_path / "m.pt",
        {
            "epoch": 3,
            "model": {
                "t": _tensor("FloatStorage", "0", 12, 2, (3, 2), (1, 3)),  # transposed view
                "b": _tensor("BFloat16Storage", "1", 2, 0, (2,), (1,)),
            },
        },
        {"0": values, "1": halves},
    )
    tensors = read_torch(path)
    assert set(tensors) == {"model.t", "model.b"}
    np.testing.assert_array_equal(tensors["model.t"], values[2:8].reshape(2, 3).T)
    np.testing.assert_array_equal(tensors["model.b"], np.float32([1.5, -2.0]))


@pytest.mark.parametrize("modules", [False, True])
def test_nothing_is_run(tmp_path, modules):
    marker = tmp_path / "run"
    path = _write(tmp_path / "m.pt", {"x": _Call("os", "mkdir", str(marker))}, {})
    if modules:
        assert read_torch(path, modules=True) == {}
    else:
        with pytest.raises(ModelError, match=r"os\.mkdir"):
            read_torch(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("size", "stride"), [((13,), (1,)), ((10**9,), (0,)), ((-1,), (1,)), ((2, 2), (1,))]
)
def test_impossible_extents_are_refused(tmp_path, size, stride):
    path = _write(
        tmp_path / "m.pt",
        {"x": _tensor("FloatStorage", "0", 12, 0, size, stride)},
        {"0": np.zeros(12, np.float32)},
    )
    with pytest.raises(ModelError):
        read_torch(path)


def test_damage_is_named(tmp_path):
    whole = _write(
        tmp_path / "m.pt",
        {"x": _tensor("FloatStorage", "0", 64, 0, (64,), (1,))},
        {"0": np.zeros(64, np.float32)},
    ).read_bytes()
    bad = tmp_path / "bad.pt"
    for content in (b"", b"not a zip", whole[: len(whole) // 2], os.urandom(2000)):
        bad.write_bytes(content)
        with pytest.raises(ModelError, match=r"bad\.pt"):
            read_torch(bad)
        with pytest.raises(ModelError, match=r"bad\.pt"):
            read_numpy_pickle(bad)
        with pytest.raises(ModelError, match=r"bad\.pt"):
            read_safetensors(bad)


def test_compressed_entries_are_refused(tmp_path):
    path = _write(tmp_path / "m.pt", {}, {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="compressed"):
        read_torch(path)


def test_numpy_pickle(tmp_path):
    content = {
        "params": {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "step": 5},
        "f": np.asfortranarray(np.arange(6).reshape(2, 3)),
    }
    path = tmp_path / "x.ckpt"
    path.write_bytes(pickle.dumps(content))
    tensors = read_numpy_pickle(path)
    assert set(tensors) == {"params/a", "f"}
    np.testing.assert_array_equal(tensors["params/a"], content["params"]["a"])
    np.testing.assert_array_equal(tensors["f"], content["f"])

    for hostile in (np.array([print], object), os.getcwd, {"x": slice(1)}):
        path.write_bytes(pickle.dumps(hostile))
        with pytest.raises(ModelError):
            read_numpy_pickle(path)


def test_agrees_with_torch(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    torch.save({"net": net.state_dict()}, tmp_path / "state.pt")
    torch.save({"net": net}, tmp_path / "module.pt")
    expected = {f"net.{k}": v.numpy() for k, v in net.state_dict().items()}
    for file, modules in (("state.pt", False), ("module.pt", True)):
        tensors = read_torch(tmp_path / file, modules=modules)
        assert set(tensors) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(tensors[name], value)
