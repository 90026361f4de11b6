"""The Docker files say what holds: parsed here, and their start command run here."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import httpx
import pytest
import yaml
from live_server import NONE

from stpe.serve.jobs.settings import JobSettings
from stpe.serve.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FILES = ("Dockerfile.cpu", "Dockerfile.cuda")
PINNED = re.compile(r":\d+\.\d+\.\d+-[a-z0-9.-]+$")


def instructions(name):
    """(word, rest) of every instruction of a Dockerfile, lines joined, comments left out."""
    lines = (ROOT / "docker" / name).read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    text = text.replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def last_stage(name):
    found = instructions(name)
    start = max(i for i, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def environment(name):
    pairs = shlex.split(" ".join(rest for word, rest in last_stage(name) if word == "ENV"))
    return dict(pair.split("=", 1) for pair in pairs)


def command(name, word):
    (rest,) = [rest for w, rest in last_stage(name) if w == word]
    return json.loads(rest[rest.index("[") :])


@pytest.mark.parametrize("name", FILES)
def test_an_image_is_pinned_unprivileged_and_watched(name):
    stages = [rest.split() for word, rest in instructions(name) if word == "FROM"]
    assert all(PINNED.search(stage[0]) for stage in stages)
    final = dict(last_stage(name))
    assert int(final["USER"]) >= 1000
    words = [word for word, _ in last_stage(name)]
    assert words.index("USER") < words.index("CMD")
    assert final["VOLUME"] == "/data"
    assert "HEALTHCHECK" in final
    assert environment(name)["STPE_SERVE_PORT"] == final["EXPOSE"]


@pytest.mark.parametrize("name", FILES)
def test_an_image_is_made_of_what_is_here(name):
    copied = [
        path
        for word, rest in instructions(name)
        if word == "COPY" and not rest.startswith("--from")
        for path in rest.split()[:-1]
    ]
    assert copied
    assert all((ROOT / path).exists() for path in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = " ".join(rest for word, rest in instructions(name) if word == "RUN")
    extras = re.search(r'"\.\[([a-z,]+)\]"', installed)[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    known = {
        field.alias
        for settings in (Settings, JobSettings)
        for field in settings.model_fields.values()
    }
    ours = {n for n in environment(name) if n.startswith("STPE_")} - {"STPE_CACHE"}
    assert ours <= known


def test_compose_starts_those_images_with_a_key_and_few_rights():
    document = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    services = document["services"]
    built = {Path(s["build"]["dockerfile"]).name for s in services.values()}
    assert built == set(FILES)
    for service in services.values():
        folder = ROOT / "docker" / service["build"]["context"]
        assert (folder / service["build"]["dockerfile"]).is_file()
        assert service["environment"]["STPE_API_KEY"].startswith("${STPE_API_KEY:?")
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "privileged" not in service
        volumes = {volume.split(":")[0] for volume in service["volumes"]}
        assert volumes <= set(document["volumes"])
    devices = services["stpe-cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["capabilities"] == ["gpu"]


@pytest.mark.weights
@pytest.mark.parametrize("name", FILES)
def test_the_start_command_serves_and_the_health_check_sees_it(name, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    variables = {**os.environ, **environment(name)}
    for changed in ("STPE_JOBS_URL", "STPE_JOBS_DATASET"):
        variables[changed] = variables[changed].replace("/data", str(tmp_path))
    del variables["STPE_CACHE"]
    variables |= {
        "STPE_SERVE_PORT": port,
        "STPE_SERVE_MODELS": NONE,  # the images' models are their own; here only that it serves
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    variables.pop("HF_HOME", None)
    start, check = command(name, "CMD"), command(name, "HEALTHCHECK")
    keyless = subprocess.run(start, env=variables, capture_output=True, text=True, timeout=60)
    assert keyless.returncode != 0
    assert "STPE_API_KEY" in keyless.stderr
    assert "Traceback" not in keyless.stderr

    variables["STPE_API_KEY"] = "correct horse"
    assert subprocess.run(check, env=variables, capture_output=True, timeout=30).returncode != 0
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(start, env=variables, stdout=log, stderr=log, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(check, env=variables, capture_output=True, timeout=30).returncode:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
        body = {"input": {"operation": "memory_stats"}}
        url = f"http://127.0.0.1:{port}/runsync"
        assert httpx.post(url, json=body, timeout=60).status_code == 401
        headers = {"Authorization": "Bearer correct horse"}
        answer = httpx.post(url, json=body, headers=headers, timeout=60)
        assert answer.json()["status"] == "COMPLETED"
    finally:
        process.terminate()
        assert process.wait(60) in (0, -15)
