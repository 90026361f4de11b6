"""A model hub on this machine: as much of its API as huggingface_hub needs for one repository."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves `files` as `repository` at `COMMIT`.

    Attributes:
        token: where set, files need it; `granted` is whether its account accepted the terms.
        cut: file name to bytes after which the connection dies, once.
        damaged: file name to what is sent in its place.
        claimed: file name to a size that is stated in place of the true one.
        status: where set, the answer to everything.
        asked: (method, path, Range header) of every request.
    """

    def __init__(self, repository, files):
        self.repository, self.files = repository, files
        self.token, self.granted = None, True
        self.cut, self.damaged, self.claimed = {}, {}, {}
        self.status = None
        self.asked = []

    @contextmanager
    def running(self):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (_Handler,), {"hub": self}))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, path, self.headers.get("Range")))
        if hub.status:
            return self.send(hub.status, {}, b"", body)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token != hub.token:
            return self.refuse(401, None, "Invalid credentials in Authorization header", body)
        if hub.repository not in path:
            return self.refuse(404, "RepoNotFound", "Repository not found", body)
        kind, _, rest = path.partition(hub.repository)[2].lstrip("/").partition("/")
        revision, _, name = rest.partition("/")
        if revision not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound", "Invalid rev id", body)
        if kind == "revision":
            return self.json({"id": hub.repository, "sha": COMMIT, "siblings": []}, body)
        if kind == "tree":
            return self.json([self.entry(n, c) for n, c in hub.files.items()], body)
        if hub.token and token != hub.token:
            return self.refuse(401, "GatedRepo", "Access is restricted", body)
        if hub.token and not hub.granted:
            return self.refuse(403, "GatedRepo", "You are not in the authorized list", body)
        if name not in hub.files:
            return self.refuse(404, "EntryNotFound", "Entry not found", body)
        return self.file(name, hub.files[name], body)

    def entry(self, name, content):
        size = self.hub.claimed.get(name, len(content))
        entry = {"type": "file", "path": name, "size": size, "oid": _git(content)}
        if name.endswith((".safetensors", ".bin", ".pt")):
            entry["lfs"] = {"oid": _sha(content), "size": size, "pointerSize": 130}
        return entry

    def file(self, name, content, body):
        etag = self.entry(name, content).get("lfs", {"oid": _git(content)})["oid"]
        size = self.hub.claimed.get(name, len(content))
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if not body:
            headers["Content-Length"] = str(size)
            return self.send(200, headers, b"", False)
        sent = self.hub.damaged.get(name, content)
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(sent) - 1}/{len(sent)}"
        cut = self.hub.cut.pop(name, None)
        headers["Content-Length"] = str(len(sent) - start)
        if cut is None:
            return self.send(206 if start else 200, headers, sent[start:], True)
        self.send(200, headers, sent[:cut], True)
        self.close_connection = True
        return self.connection.close()

    def json(self, value, body):
        headers = {"Content-Type": "application/json"}
        return self.send(200, headers, json.dumps(value).encode(), body)

    def refuse(self, status, code, message, body):
        headers = {"X-Error-Message": message}
        if code:
            headers["X-Error-Code"] = code
        return self.send(status, headers, json.dumps({"error": message}).encode(), body)

    def send(self, status, headers, content, body):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)
            self.wfile.flush()

    def log_message(self, *_):
        pass


def _sha(content):
    return hashlib.sha256(content).hexdigest()


def _git(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
