"""Fifty video sessions opened and propagated, half of them abandoned: does memory come back?

    python benchmarks/sessions.py VIDEO [--sessions 50] [--frames 3]

Starts `stpe serve` with a short time to live. Each session gets one object and follows it; every
second one is left in the middle of its stream, without a word. Prints resident memory before (after
four sessions, which compile the models for the video's size), at most, and after.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from websockets.sync.client import connect

from stpe.client import Client

API = "/api/v1/video"
_AT_ONCE = 4


def one_session(client: Client, port: int, video: Path, frames: int, abandon: bool) -> None:
    """Open, point, follow; then end the session or just leave."""
    started = client.call("POST", f"{API}/session/start", json={"video_path": video.name})
    session = started.json()["session_id"]
    body = {"frame_index": 0, "prompts": [{"type": "point", "point": [0.5, 0.5]}]}
    client.call("POST", f"{API}/session/{session}/prompt", json=body)
    with connect(f"ws://127.0.0.1:{port}/ws/propagate/{session}", max_size=None) as stream:
        stream.send(json.dumps({} if abandon else {"max_frames": frames}))
        for _ in range(frames):
            assert json.loads(stream.recv(300))["type"] == "frame"
    if not abandon:
        client.call("DELETE", f"{API}/session/{session}")


def run(client: Client, port: int, arguments: argparse.Namespace, count: int) -> None:
    """So many sessions, some at once, every second one abandoned."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [
            pool.submit(one_session, client, port, arguments.video, arguments.frames, i % 2 == 1)
            for i in range(count)
        ]
        for job in jobs:
            job.result()


def main() -> None:
    """Run, print, and fail where memory did not come back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--frames", type=int, default=3)
    arguments = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "STPE_SERVE_PROFILE": "embedded",
            "STPE_SERVE_MEDIA_ROOTS": str(arguments.video.resolve().parent),
            "STPE_JOBS_URL": f"sqlite:///{folder}/jobs.sqlite3",
            "STPE_JOBS_DATASET": f"{folder}/dataset",
            "SESSION_TIMEOUT_SECONDS": "5",
            "SESSION_CLEANUP_INTERVAL_SECONDS": "1",
        }
        command = [sys.executable, "-c", "from stpe.cli import main; main()", "serve"]
        server = subprocess.Popen(
            [*command, "--port", str(port)], env={**os.environ, **settings},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with Client(f"http://127.0.0.1:{port}", timeout_s=600) as client:
                failed = measure(client, port, arguments)
        finally:
            server.terminate()
            server.wait()
    sys.exit(failed)


def measure(client: Client, port: int, arguments: argparse.Namespace) -> int:
    """1 where memory did not come back."""

    def memory() -> float:
        return float(client.health()["memory_mb"])

    def rest() -> float:
        while client.call("GET", f"{API}/sessions").json()["sessions"]:
            time.sleep(0.5)
        return memory()

    client.wait_ready()
    run(client, port, arguments, _AT_ONCE)
    before = rest()
    most, done = before, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.5):
            most = max(most, memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.monotonic()
    run(client, port, arguments, arguments.sessions)
    seconds = time.monotonic() - begun
    after = rest()
    done.set()
    watcher.join()
    print(f"{arguments.sessions} sessions of {arguments.frames} frames in {seconds:.0f} s")
    print(f"resident MB: before {before:.0f}, most {most:.0f}, after {after:.0f}")
    print(f"change {100 * (after / before - 1):+.1f} %")
    return int(after > 1.05 * before)


if __name__ == "__main__":
    main()
