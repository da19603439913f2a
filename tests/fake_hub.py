# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""A small Hugging Face Hub on 127.0.0.1 for tests: create, upload, commit, list and download, with revisions.

In a test use the fixture `fake_hub`, which also points huggingface_hub at it. For another process:
`subprocess.run(..., env={**os.environ, **hub.environment(cache_folder)})`.

Writing takes the token `TOKEN`. Faults of the requests that write: `hub.faults += [500, "drop", "hang"]` answers the next three with a status, an end
of the connection, and silence; `hub.refused["somebody/model"] = 403` refuses all of one repository. What is in
`hub.gated` cannot be read.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants, hf_api


USER = "me"
TOKEN = "hf_fake"
# Some of those that the Hub knows.
LICENSES = ("apache-2.0", "cc-by-4.0", "cc-by-nc-4.0", "mit", "openrail", "other", "unknown")
SPACE_SDKS = ("gradio", "streamlit", "docker", "static")
SPACE_COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


class FakeHub:
    """The server, a context manager. Repositories are keyed by their path on the Hub: "me/model",
    "datasets/me/data"."""

    def __init__(self):
        # repository -> revision -> files, where "main" and every commit hash are revisions
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.commits: dict[str, dict[str, str]] = {}
        self.requests: list[str] = []
        self.faults: list[int | str] = []
        self.refused: dict[str, int] = {}
        # Repositories that were created as private ones; reading them takes the token.
        self.private: set[str] = set()
        # Repositories whose terms were not accepted.
        self.gated: set[str] = set()
        self.closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.hub = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    def connect(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        """Point this process's huggingface_hub at the server and at an empty cache."""
        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", self.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(hf_api.api, "endpoint", self.url)
        # For what this process reads only now, and for processes that it starts.
        for name, value in self.environment(cache).items():
            monkeypatch.setenv(name, value)

    def environment(self, cache: Path) -> dict[str, str]:
        """Environment variables that point another process at the server and at a cache."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_CACHE": str(cache),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def create(self, repository: str) -> None:
        if repository not in self.repositories:
            self.commits[repository] = {}
            self.repositories[repository] = {}
            self.commit(repository, {})

    def commit(self, repository: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Replace the files of a branch; returns the commit's hash."""
        number = len(self.commits[repository])
        commit = hashlib.sha1(f"{repository}/{number}".encode()).hexdigest()
        self.repositories[repository][commit] = self.repositories[repository][branch] = files
        self.commits[repository][commit] = self.commits[repository][branch] = commit
        return commit

    def upload_folder(self, repository: str, folder: Path) -> str:
        """Make a folder the content of a repository's main branch; returns the commit's hash."""
        self.create(repository)
        paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
        return self.commit(repository, {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})

    def tag(self, repository: str, name: str) -> None:
        """Give the newest commit of the main branch a name."""
        commit = self.commits[repository]["main"]
        self.repositories[repository][name] = self.repositories[repository][commit]
        self.commits[repository][name] = commit

    def files(self, repository: str, revision: str = "main") -> dict[str, bytes]:
        """The files on the main branch, or on another, or of a pull request: "refs/pr/1"."""
        return self.repositories[repository][revision]

    def downloaded(self) -> set[str]:
        """Paths of the files that were downloaded since the start."""
        marked = [
            request.split("/resolve/", 1)[1]
            for request in self.requests
            if request.startswith("GET") and "/resolve/" in request
        ]
        return {path.split("/", 1)[1] for path in marked}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    @property
    def hub(self) -> FakeHub:
        return self.server.hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self._parts()
        if parts[:2] == ["api", "whoami-v2"]:
            self._send({"name": USER, "type": "user", "orgs": []})
        elif parts[4:5] == ["discussions"]:
            self._send_pull_request(parts[1:])
        elif parts[0] == "api":
            self._send_listing(parts[1:])
        elif "resolve" in parts:
            self._send_file(parts)
        else:
            self._send({"error": self.path}, 404)

    def do_POST(self) -> None:
        body, parts = self._body(), self._parts()
        if self._is_faulty(parts, body):
            return
        if parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts == ["api", "validate-yaml"]:
            request = json.loads(body)
            errors = card_errors(request["content"], request["repoType"])
            self._send({"errors": [{"message": text} for text in errors], "warnings": []}, 400 if errors else 200)
        elif "preupload" in parts:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._send({"files": files})
        elif parts[4:] == ["discussions"]:
            self._create_pull_request(_repository(parts[1:4]))
        elif parts[4:5] == ["branch"]:
            self._create_branch(_repository(parts[1:4]), parts[5])
        elif "commit" in parts:
            self._commit(parts, body)
        else:
            self._send({"error": self.path}, 404)

    def _is_faulty(self, parts: list[str], body: bytes) -> bool:
        """Whether the request was answered with a fault, or not at all."""
        repository = _created(json.loads(body)) if parts[1:] == ["repos", "create"] else _repository(parts[1:4])
        fault = self.hub.refused.get(repository)
        if fault is None and parts != ["api", "validate-yaml"] and not self._has_token():
            fault = 401
        if fault is None and self.hub.faults:
            fault = self.hub.faults.pop(0)
        if fault == "hang":
            self.hub.closed.wait()
        if fault in ("hang", "drop"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault is not None:
            self._send({"error": f"fault {fault}"}, fault)
        return fault is not None

    def _has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _create(self, request: dict) -> None:
        repository = _created(request)
        if repository not in self.hub.repositories and request.get("visibility") == "private":
            self.hub.private.add(repository)
        self.hub.create(repository)
        self._send({"url": f"{self.hub.url}/{repository}", "id": repository, "name": repository})

    def _create_branch(self, repository: str, name: str) -> None:
        revisions, commits = self.hub.repositories[repository], self.hub.commits[repository]
        if name in revisions:
            return self._send({"error": "Reference already exists"}, 409)
        revisions[name], commits[name] = revisions["main"], commits["main"]
        self._send({"success": True})

    def _create_pull_request(self, repository: str) -> None:
        revisions, commits = self.hub.repositories[repository], self.hub.commits[repository]
        number = 1 + sum(name.startswith("refs/pr/") for name in revisions)
        name = f"refs/pr/{number}"
        revisions[name], commits[name] = revisions["main"], commits["main"]
        self._send({"num": number})

    def _send_pull_request(self, parts: list[str]) -> None:
        pull_request = {
            "title": "",
            "num": int(parts[4]),
            "createdAt": "2026-01-01T00:00:00.000Z",
            "status": "draft",
            "repo": {"name": "/".join(parts[1:3]), "type": parts[0].removesuffix("s")},
            "isPullRequest": True,
            "changes": {"base": "refs/heads/main"},
            "filesWithConflicts": [],
            "events": [],
        }
        self._send(pull_request)

    def _commit(self, parts: list[str], body: bytes) -> None:
        repository, branch = _repository(parts[1:4]), parts[5]
        files = dict(self.hub.files(repository, branch))
        for entry in map(json.loads, body.decode().splitlines()):
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "deletedFile":
                del files[entry["value"]["path"]]
        commit = self.hub.commit(repository, files, branch)
        url = f"{self.hub.url}/{repository}/commit/{commit}"
        self._send({"success": True, "commitOid": commit, "commitUrl": url})

    def _send_listing(self, parts: list[str]) -> None:
        repository = _repository(parts[:3])
        revision = parts[4] if len(parts) > 4 and parts[3] in ("tree", "revision") else "main"
        files = self._find(repository, revision)
        if files is None:
            return
        if parts[3:4] == ["tree"]:
            listing = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ]
            return self._send(listing)
        siblings = [{"rfilename": path} for path in files]
        name = repository.removeprefix("datasets/").removeprefix("spaces/")
        self._send(
            {"_id": "1", "id": name, "sha": self.hub.commits[repository][revision], "tags": [], "siblings": siblings}
        )

    def _send_file(self, parts: list[str]) -> None:
        at = parts.index("resolve")
        repository, revision, path = "/".join(parts[:at]), parts[at + 1], "/".join(parts[at + 2 :])
        files = self._find(repository, revision)
        if files is None:
            return
        headers = {"X-Repo-Commit": self.hub.commits[repository][revision]}
        if path not in files:
            return self._send(b"", 404, {**headers, "X-Error-Code": "EntryNotFound"})
        content = files[path]
        headers |= {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return self._send(content[first : last + 1], 206, headers)
        self._send(content, 200, headers)

    def _find(self, repository: str, revision: str) -> dict[str, bytes] | None:
        """The files at a revision; without them the error is sent."""
        if repository not in self.hub.repositories:
            return self._send({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        if repository in self.hub.private and not self._has_token():
            # The Hub does not tell strangers that there is such a repository.
            return self._send({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        if repository in self.hub.gated:
            return self._send({"error": "Access is restricted"}, 403, {"X-Error-Code": "GatedRepo"})
        if revision not in self.hub.repositories[repository]:
            return self._send({"error": "Revision not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
        return self.hub.repositories[repository][revision]

    def _parts(self) -> list[str]:
        """The parts of the request's path; the name of a branch is one, whatever slashes it has."""
        path = urllib.parse.urlparse(self.path).path
        self.hub.requests.append(f"{self.command} {urllib.parse.unquote(path)}")
        return [urllib.parse.unquote(part) for part in path.strip("/").split("/")]

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().strip(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, content: bytes | dict | list, status: int = 200, headers: dict[str, str] | None = None) -> None:
        is_bytes = isinstance(content, bytes)
        content = content if is_bytes else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/octet-stream" if is_bytes else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def card_errors(content: str, repo_type: str = "model") -> list[str]:
    """What the Hub would not accept of a card's front matter, of the fields that cards here have.

    After its pages modelcard.md, repositories-licenses.md and spaces-config-reference.md.
    """
    if not content.startswith("---\n"):
        return []
    try:
        data = yaml.safe_load(content.split("---\n")[1])
    except yaml.YAMLError as error:
        return [f"Invalid YAML: {error}"]
    if not isinstance(data, dict):
        return ["The metadata must be a mapping"]
    errors = []
    licenses = data.get("license", [])
    for name in [licenses] if isinstance(licenses, str) else licenses:
        if name not in LICENSES:
            errors.append(f'"license" must be one of [{", ".join(LICENSES)}]')
    for name in ("base_model", "datasets"):
        ids = data.get(name, [])
        for repository in [ids] if isinstance(ids, str) else ids:
            if not isinstance(repository, str) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repository):
                errors.append(f'"{name}" with value "{repository}" is not valid. Use a model id from the Hub')
    for name, kind in (("tags", list), ("library_name", str), ("pipeline_tag", str), ("model-index", list)):
        if not isinstance(data.get(name, kind()), kind) or None in (data.get(name, []), *data.get("tags", [])):
            errors.append(f'"{name}" must be {"an array" if kind is list else "a string"}')
    if not errors:
        errors += [error for model in data.get("model-index", []) for error in _model_index_errors(model)]
    return errors + (_space_errors(data) if repo_type == "space" else [])


def _model_index_errors(model: dict) -> list[str]:
    errors = [] if isinstance(model.get("name"), str) else ['"model-index[0].name" is required']
    for result in model.get("results", []):
        for name, required in (("task", {"type"}), ("dataset", {"type", "name"})):
            if not required <= set(result.get(name, {})):
                errors.append(f'"model-index" has a result without {name}: {", ".join(sorted(required))}')
        if not result.get("metrics") or not all({"type", "value"} <= set(metric) for metric in result["metrics"]):
            errors.append('"model-index" has a result without metrics of a type and a value')
    return errors


def _space_errors(data: dict) -> list[str]:
    errors = []
    if data.get("sdk") not in SPACE_SDKS:
        errors.append(f'"sdk" must be one of [{", ".join(SPACE_SDKS)}]')
    for name in ("colorFrom", "colorTo"):
        if data.get(name, "gray") not in SPACE_COLOURS:
            errors.append(f'"{name}" must be one of [{", ".join(SPACE_COLOURS)}]')
    if not re.fullmatch(r"3\.\d+(\.\d+)?", str(data.get("python_version", "3.12"))):
        errors.append('"python_version" must be a version of Python 3')
    if len(data.get("short_description", "")) > 60:
        errors.append('"short_description" length must be less than or equal to 60 characters long')
    return errors


def _created(request: dict) -> str:
    """The repository that a request for creation names."""
    prefix = "" if request.get("type", "model") == "model" else f"{request['type']}s/"
    return f"{prefix}{request.get('organization') or USER}/{request['name']}"


def _repository(parts: list[str]) -> str:
    """["models", "me", "name"] -> "me/name", ["datasets", "me", "name"] -> "datasets/me/name"."""
    return "/".join(parts[1:] if parts[0] == "models" else parts)
