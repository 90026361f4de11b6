"""`stpe serve` as a process of its own, as a user starts it."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

from stpe.client import Client

COMMAND = [sys.executable, "-c", "from stpe.cli import main; main()"]
#: STPE_SERVE_MODELS of a server without models, which starts quickly.
NONE = ",".join(
    f"{role}=none"
    for role in (
        "clip_classifier", "segmenter", "image_embedder", "shot_detector", "detector", "pose",
        "depth", "text_embedder",
    )
)  # fmt: skip


@contextmanager
def live_server(folder, *arguments, key=None, wait=True, **environment):
    """Yields a client of a fresh server; afterwards it must still be alive and end on SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "STPE_SERVE_PROFILE": "embedded",
        "STPE_JOBS_URL": f"sqlite:///{folder}/jobs.sqlite3",
        "STPE_JOBS_DATASET": str(folder / "dataset"),
        **environment,
    }
    if key is not None:
        settings["STPE_API_KEY"] = key
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port), *arguments],
            env={**os.environ, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with Client(f"http://127.0.0.1:{port}", key) as client:
            client.url = f"http://127.0.0.1:{port}"
            client.port = port
            client.pid = process.pid
            if wait:
                client.wait_ready(300)
            yield client
            assert process.poll() is None, log_path.read_text()[-3000:]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
