"""A real ComfyUI server with the pack in it, for tests: started once for each checkout that is found.

Everything that it writes lies in a fresh base directory; only the process that was started here is ended.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACK = "anchor-avatar-studio"
_START_S = 180


def find_checkouts() -> list[Path]:
    """ComfyUI checkouts: COMFYUI_DIR alone, or the one around the pack and those in ~/comfy."""
    named = os.environ.get("COMFYUI_DIR")
    home = Path.home() / "comfy"
    known = [Path(named)] if named else [ROOT.parent.parent, home / "ComfyUI", home / "ComfyUI-0.3.64"]
    found = (path.resolve() for path in known if (path / "main.py").is_file() and (path / "comfy").is_dir())
    return list(dict.fromkeys(found))


def python_for(checkout: Path) -> tuple[str, dict[str, str]] | str:
    """The Python that has this checkout's requirements and its extra environment, or why there is none.

    The front end is pinned to the version of the host. A second host's front end is looked for beside this
    Python's own packages, in comfyui/<name of the checkout>, where .ci/host_requirements puts it.
    """
    if "COMFYUI_PYTHON" in os.environ:
        return os.environ["COMFYUI_PYTHON"], {}
    try:
        metadata.version("aiohttp")
    except metadata.PackageNotFoundError:
        return "this Python lacks ComfyUI's requirements: set COMFYUI_PYTHON to one that has them"
    pins = re.findall(r"^(comfyui[\w-]+)==(\S+)", (checkout / "requirements.txt").read_text(), re.M)
    if all(_installed(name) == version for name, version in pins):
        return sys.executable, {}
    beside = Path(sys.prefix) / "comfyui" / checkout.name
    if beside.is_dir():
        return sys.executable, {"PYTHONPATH": str(beside)}
    wanted = " ".join(f"{name}=={version}" for name, version in pins)
    return f"its front end is not installed: pip install --no-deps --target {beside} {wanted}"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


class HostServer:
    """A running server; use as a context manager. arguments: further ones of ComfyUI's command line."""

    def __init__(self, checkout: Path, base: Path, *arguments: str) -> None:
        found = python_for(checkout)
        assert not isinstance(found, str), found
        self.python, self._environment = found
        self.checkout, self.base, self._arguments = checkout, base, arguments
        self.url = ""

    def __enter__(self) -> HostServer:
        for name in ("custom_nodes", "input", "output", "temp", "user", "models/anchors"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        (self.base / "custom_nodes" / PACK).symlink_to(ROOT)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        command = [self.python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", port]
        command += [
            "--base-directory",
            str(self.base),
            "--preview-method",
            "latent2rgb",
            "--disable-api-nodes",
        ]
        command += ["--database-url", f"sqlite:///{self.base}/user/comfyui.db", *self._arguments]
        # Bytecode is written: two starts of the host read 1500 modules each.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", **self._environment}
        self._log = (self.base / "server.log").open("wb")
        self._process = subprocess.Popen(
            command, cwd=self.checkout, env=environment, stdout=self._log, stderr=subprocess.STDOUT
        )
        self.url = f"http://127.0.0.1:{port}"
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.get("/system_stats")
            except OSError:
                time.sleep(0.2)
            else:
                return
        self.__exit__()
        raise RuntimeError(f"the server did not start:\n{self.log()[-3000:]}")

    def log(self) -> str:
        """All that the server has written."""
        return (self.base / "server.log").read_text("utf-8", "replace")

    def get(self, path: str) -> Any:
        """A JSON answer."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.loads(answer.read())

    def post(self, path: str, body: Any) -> Any:
        """A JSON answer, also of a refused request."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            text = error.read()
        return json.loads(text or b"null")

    def start(self, prompt: dict[str, Any]) -> str:
        """Queue a prompt; its id."""
        return str(self.post("/prompt", {"prompt": prompt})["prompt_id"])

    def result(self, prompt_id: str, timeout_s: float = 300) -> dict[str, Any]:
        """The history entry of a prompt, when it has ended."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                entry: dict[str, Any] = history[prompt_id]
                return entry
            time.sleep(0.1)
        raise TimeoutError(f"the prompt did not end in {timeout_s} s:\n{self.log()[-3000:]}")

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Run a prompt to its end."""
        return self.result(self.start(prompt))

    def complaint(self, prompt: dict[str, Any]) -> str:
        """What the user reads when this prompt fails; "" when it does not."""
        answer = self.post("/prompt", {"prompt": prompt})
        errors = [e for node in (answer.get("node_errors") or {}).values() for e in node["errors"]]
        if errors:
            return "; ".join(f"{e['message']}: {e['details']}" for e in errors)
        messages = dict(self.result(answer["prompt_id"])["status"]["messages"])
        return str(messages.get("execution_error", {}).get("exception_message", ""))

    def shown(self, entry: dict[str, Any], node: str) -> list[Path]:
        """The lossless pictures that a preview node has shown."""
        return [
            self.base / picture["type"] / picture["subfolder"] / picture["filename"]
            for picture in entry["outputs"][node]["images"]
        ]


def cached_nodes(entry: dict[str, Any]) -> set[str]:
    """Nodes that a finished prompt did not have to run."""
    return set(dict(entry["status"]["messages"])["execution_cached"]["nodes"])


def api_prompt(workflow: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """A UI-format workflow of plain nodes as the prompt that the front end sends, without muted nodes."""
    muted = {node["id"] for node in workflow["nodes"] if node["mode"] == 2}
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"] if link[1] not in muted}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] not in object_info or node["id"] in muted:  # notes live in the front end
            continue
        inputs = _widget_values(node, object_info[node["type"]])
        linked = {i["name"]: sources[i["link"]] for i in node["inputs"] if i["link"] in sources}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": {**inputs, **linked}}
    return prompt


def _widget_values(node: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    values, found = iter(node.get("widgets_values") or []), {}
    for kind in ("required", "optional"):
        for name, (type_, *options) in info["input"].get(kind, {}).items():
            plain = isinstance(type_, list) or type_ in ("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO")
            if not plain and "DYNAMICCOMBO" not in type_:
                continue
            value = next(values, None)
            if value is not None:
                found[name] = value
            if options and options[0].get("control_after_generate"):
                next(values)
    return found
