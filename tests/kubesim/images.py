"""Images are names only: this says what a container runs, and which names cannot be pulled."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.kubesim.store import Object

_VARIABLE: Final = re.compile(r"\$\$|\$\((\w+)\)")
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FOREVER: Final = ["sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"]
_WEB: Final = """
import functools, http.server, pathlib, signal, socket, sys, tempfile
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
root = pathlib.Path(tempfile.mkdtemp())
(root / "index.html").write_text(f"hello from {socket.gethostname()}\\n")
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def end_headers(self):
        self.send_header("X-Pod", socket.gethostname())
        super().end_headers()
make = functools.partial(Handler, directory=root)
server = http.server.ThreadingHTTPServer(("", int(sys.argv[1])), make)
print(f"serving on {sys.argv[1]}", flush=True)
server.serve_forever()
"""


class CannotPull(Exception):
    """No registry has this image; the text is the runtime's."""


def python_path() -> str:
    """Return the interpreter itself, where no virtual environment is in the way."""
    return os.path.realpath(sys.executable)


def command_of(container: Object, env: dict[str, str]) -> list[str]:
    """Return the argument vector of a container: its command and args, or what its image stands for.

    Raises:
        CannotPull: the image's registry is below `.invalid`.
    """
    image = container["image"]
    if image.split("/")[0].split(":")[0].endswith(".invalid"):
        text = (
            f'failed to pull and unpack image "{image}": failed to resolve reference: dial tcp: no such host'
        )
        raise CannotPull(text)
    args = [_expand(a, env) for a in container.get("args") or []]
    command = [_expand(a, env) for a in container.get("command") or []]
    return [*command, *args] if command else _default(image, container, args)


def _default(image: str, container: Object, args: list[str]) -> list[str]:
    name = image.rpartition("/")[2].partition(":")[0].partition("@")[0]
    if name in ("nginx", "httpd", "web", "agnhost"):
        ports = [p["containerPort"] for p in container.get("ports") or []] or [80]
        return [python_path(), "-I", "-S", "-u", "-c", _WEB, str(ports[0])]
    if name.startswith("pause"):
        return _FOREVER
    if args:
        return args
    return ["sh"]


def _expand(text: str, env: dict[str, str]) -> str:
    """Replace `$(NAME)` as the kubelet does: unknown names stay, `$$` is a dollar sign."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _VARIABLE.sub(value, text)


def search_path(image: str, applets: str) -> str:
    """Return a container's PATH; in busybox images its applets come first, where the host has them."""
    return f"{applets}:{_SYSTEM_PATH}" if applets and "busybox" in image else _SYSTEM_PATH


@cache
def has_busybox() -> bool:
    """Return whether the host has a busybox."""
    return shutil.which("busybox") is not None


def install_applets(directory: Path) -> Path | None:
    """Fill a directory with busybox's applets and return it, or None where the host has no busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        return None
    directory.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in listed.stdout.split():
        link = directory / applet
        if not link.is_symlink():
            link.symlink_to(busybox)
    return directory


def environment(pod: Object, container: Object, path: str, lookup: Any) -> dict[str, str]:
    """Return a container's environment.

    Args:
        lookup: returns the data of a `configMap` or `secret` by kind and name, {} where there is none.
    """
    meta = pod["metadata"]
    env = {"PATH": path, "HOSTNAME": meta["name"], "HOME": "/tmp", "TERM": "xterm",
           "KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}  # fmt: skip
    for source in container.get("envFrom") or []:
        for kind, field in (("configMap", "configMapRef"), ("secret", "secretRef")):
            if field in source:
                data = lookup(kind, source[field]["name"])
                env |= {source.get("prefix", "") + key: value for key, value in data.items()}
    for variable in container.get("env") or []:
        env[variable["name"]] = _expand(_value(variable, pod, lookup), env)
    return env


def _value(variable: Object, pod: Object, lookup: Any) -> str:
    source = variable.get("valueFrom") or {}
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"])
    for kind, key in (("configMap", "configMapKeyRef"), ("secret", "secretKeyRef")):
        if key in source:
            return str(lookup(kind, source[key]["name"]).get(source[key]["key"], ""))
    return str(variable.get("value", ""))


def _field(pod: Object, path: str) -> str:
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, str) else ""
