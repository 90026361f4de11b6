"""Weights from a model hub, against a real HTTP server that speaks its API."""

import hashlib
import json
import os

import numpy as np
import pytest
from hub_server import COMMIT, Hub
from safetensors.numpy import save

from stpe import cli
from stpe.errors import ModelError
from stpe.models import hub as hub_files
from stpe.models import weights
from stpe.models.catalog import HubSource, Model, UrlSource, catalog
from stpe.models.inventory import verify
from stpe.models.loader import prepare, resolve
from stpe.models.machine import why_not

MODEL = "depth-anything-v2-small"
REPOSITORY = "depth-anything/Depth-Anything-V2-Small-hf"
WEIGHTS = save({"w": np.arange(600_000, dtype=np.float32)})
FILES = {
    "model.safetensors": WEIGHTS,
    "config.json": b"{}",
    "preprocessor_config.json": b'{"size": 70}',
    "pytorch_model.bin": b"a pickle that nobody asks for",
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = Hub(REPOSITORY, dict(FILES))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("STPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    # Read from the environment when the library is first imported, maybe by another test.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with server.running() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield server


def entry(revision="main", file=None) -> Model:
    model = catalog().model(MODEL)
    source = HubSource(hub=REPOSITORY, revision=revision, file=file)
    files = [model.files[0].model_copy(update={"sources": [source]})]
    return model.model_copy(update={"files": files})


def fetch(**changes):
    return weights.fetch(entry(**changes))["repository"]


def test_a_repository_comes_whole_without_its_pickles_and_is_then_used_offline(hub, monkeypatch):
    steps = []
    folder = weights.fetch(entry(), lambda *step: steps.append(step))["repository"]
    assert {p.name for p in folder.iterdir()} == set(FILES) - {"pytorch_model.bin"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert steps[0][1] == 0
    assert steps[-1][1] == steps[-1][2] == sum(len(FILES[p.name]) for p in folder.iterdir())
    assert hub_files.pinned(entry().files[0].sources[0]).revision == COMMIT
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch() == folder
    assert hub.asked == []


def test_offline_without_it_is_one_sentence_with_the_command(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="not on this machine and HF_HUB_OFFLINE is set"):
        fetch()
    if (why := why_not(catalog().model(MODEL))) and "not installed" not in why:
        assert f"stpe models pull --model depth={MODEL}" in why
    assert hub.asked == []


def test_a_download_that_was_interrupted_goes_on_from_where_it_was(hub):
    def stop(what, done, total):
        if done >= 1 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch(entry(), stop)
    assert hub_files.cached(entry().files[0].sources[0]) is None
    hub.asked.clear()
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    (taken_up,) = [r for m, p, r in hub.asked if m == "GET" and p.endswith(".safetensors")]
    assert taken_up is not None
    assert int(taken_up[6:-1]) >= 1 << 20


def test_a_lost_connection_is_taken_up(hub):
    hub.cut["model.safetensors"] = 1_500_000
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("token", "granted", "says"),
    [
        (None, True, "gated: accept its terms at .* then set HF_TOKEN"),
        ("hf_wrong", True, "does not accept the token"),
        ("hf_right", False, "the account of the token has no access"),
    ],
)
def test_gated(hub, monkeypatch, token, granted, says):
    hub.token, hub.granted = "hf_right", granted
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ModelError, match=says) as raised:
        fetch()
    assert "hf_" not in str(raised.value)


def test_a_token_from_the_environment_or_stored_opens_a_gated_repository(
    hub, monkeypatch, tmp_path
):
    hub.token = "hf_right"
    (tmp_path / "token").write_text("hf_right")
    assert (fetch() / "model.safetensors").is_file()
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "second"))
    assert (fetch() / "model.safetensors").is_file()


def test_what_is_not_there(hub):
    with pytest.raises(ModelError, match="no revision 'v9'"):
        fetch(revision="v9")
    with pytest.raises(ModelError, match=r"does not have other\.pt"):
        fetch(file="other.pt")
    hub.repository = "someone/else"
    with pytest.raises(ModelError, match="shows no repository"):
        fetch()


def test_a_hub_that_is_not_there(hub, monkeypatch):
    hub.status = 500
    with pytest.raises(ModelError, match="cannot be downloaded"):
        fetch()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="when the hub can be reached"):
        fetch()


def test_bytes_that_are_not_those_that_the_hub_states_are_removed(hub):
    damaged = bytearray(WEIGHTS)
    damaged[-1] ^= 1
    hub.damaged["model.safetensors"] = bytes(damaged)
    with pytest.raises(ModelError, match="damaged on its way"):
        fetch()
    hub.damaged.clear()
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_shorter_than_the_hub_says(hub):
    hub.damaged["model.safetensors"] = WEIGHTS[:-9]
    with pytest.raises(ModelError, match=r"cannot be downloaded|damaged"):
        fetch()


def test_only_a_pickle(hub):
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"..."}
    with pytest.raises(ModelError, match="pickles are never loaded"):
        fetch()


def test_more_than_the_disk_holds(hub):
    hub.claimed["model.safetensors"] = 10**15
    with pytest.raises(ModelError, match=r"1,000,000,\d\d\d MB do not fit"):
        fetch()
    assert not [p for m, p, _ in hub.asked if m == "GET" and p.endswith(".safetensors")]


def test_verify_finds_a_file_damaged_after_the_download(hub):
    folder = fetch()
    state = {row.model: row.state for row in verify("balanced")}
    assert state[MODEL] == "ok"
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    state = {row.model: row.state for row in verify("balanced")}
    assert state[MODEL] == "damaged"
    assert state["dinov3-vitl16"] == "missing"


def test_pull_shows_size_and_licence_first_and_the_selection_knows_the_commit(hub, capsys):
    pytest.importorskip("torch", reason="the flagship extra is not installed")
    pytest.importorskip("transformers", reason="the flagship extra is not installed")
    choice = ["--profile", "balanced", "--model", f"depth={MODEL}"]
    assert cli.run(["models", "pull", *choice, "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    (wanted,) = document["downloads"]
    size = sum(len(FILES[n]) for n in FILES if not n.endswith(".bin"))
    assert wanted["bytes"] == size
    assert wanted["licence"] == "Apache-2.0 (believed)"
    lines = told.err.splitlines()
    table = next(i for i, line in enumerate(lines) if "MB to fetch" in line)
    assert "Apache-2.0" in lines[table + 1]
    assert next(i for i, line in enumerate(lines) if line.startswith("fetching ")) > table

    selection = prepare(resolve("balanced", {"depth": MODEL}))
    model = selection.models["depth"]
    assert model.files[0].sources[0].revision == COMMIT
    assert model.fingerprint != catalog().model(MODEL).fingerprint
    assert COMMIT in model.sha256
    assert cli.run(["models", "pull", *choice, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["downloads"][0]["bytes"] == 0

    os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
    gone = ["--profile", "balanced", "--model", "image_embedder=dinov3-vitl16"]
    assert cli.run(["models", "pull", *gone]) == 1
    assert "dinov3-vitl16" in capsys.readouterr().err


def test_a_publishers_address_is_checked_against_the_digits_he_states(hub):
    url = f"{os.environ['HF_ENDPOINT']}/{REPOSITORY}/resolve/main/model.safetensors"
    digest = hashlib.sha256(WEIGHTS).hexdigest()

    def model(starts, url=url):
        source = UrlSource(url=url, sha256_starts=starts)
        file = entry().files[0].model_copy(update={"name": "w", "sources": [source]})
        return entry().model_copy(update={"files": [file]})

    for wrong, says in ((model("0" * 8), "expected hash"), (model("0" * 8, url + "x"), "404")):
        with pytest.raises(ModelError, match=says):
            weights.fetch(wrong)
    hub.cut["model.safetensors"] = 1_500_000
    path = weights.fetch(model(digest[:8]))["w"]
    assert path.read_bytes() == WEIGHTS
    assert path.parent.name == digest
    hub.asked.clear()
    assert weights.fetch(model(digest[:8]))["w"] == path
    assert hub.asked == []


def test_a_local_folder_is_known_by_what_it_holds_and_not_by_where_it_lies(hub, tmp_path):
    pytest.importorskip("torch", reason="the flagship extra is not installed")
    pytest.importorskip("transformers", reason="the flagship extra is not installed")

    def key(folder):
        return resolve("balanced", {"depth": str(folder)}).models["depth"].fingerprint

    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    first = key(folder)
    moved = tmp_path / "elsewhere" / "mine"
    moved.parent.mkdir()
    folder.rename(moved)
    assert key(moved) == first
    (moved / "config.json").write_bytes(b"{ }")
    assert key(moved) != first
