"""Writes a shell transcript of a user's first minutes with the tunnel, from a run on a real cluster.

    python -m tests.e2e.transcript --kubeconfig FILE

starts stub and agent for the cluster, runs every command through them with the newest kubectl found, and prints prompts
and real output as a fenced block of Markdown.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.scenarios.access import open_access
from tests.scenarios.binaries import newest
from tests.scenarios.forwarding import fetch
from tests.scenarios.kubectl import Access, Kubectl
from tests.scenarios.processes import Running
from tests.scenarios.tunnel import running_tunnel

_NAMESPACE = "demo"

_SERVE = "mkdir /tmp/www && echo hello from inside > /tmp/www/index.html && exec busybox httpd -f -p 8080 -h /tmp/www"
_COUNT = "for n in 1 2 3; do echo line $n; sleep 0.5; done"


class Transcript:
    """A shell session in the making: what was typed and what came back."""

    def __init__(self, access: Access) -> None:
        binary = newest()
        assert binary is not None
        self._kubectl = Kubectl(binary, access)
        self._access = access
        self._lines: list[str] = []

    def run(self, *arguments: str, stdin: str | None = None, typed: str | None = None, code: int = 0) -> str:
        """Run kubectl and keep what it printed.

        Args:
            typed: what a user types for it, where that differs from the arguments joined.
        """
        result = self._kubectl.run(*arguments, stdin=stdin, code=code)
        self._typed(typed or " ".join(["kubectl", *arguments]))
        self._printed(result.stdout + result.stderr)
        return result.stdout

    def quietly(self, *arguments: str) -> None:
        """Run kubectl without showing it."""
        self._kubectl.run(*arguments)

    def background(self, *arguments: str, ready: str, use: Callable[[Running], tuple[str, str]]) -> None:
        """Run kubectl in the background until a line of it has come, use it, and keep both sides.

        Args:
            use: does something with it; returns what a user types for that, and its output.
        """
        with self._kubectl.start(*arguments) as process:
            said = process.wait_for_text(ready)
            typed, output = use(process)
        self._typed(" ".join(["kubectl", *arguments, "&"]))
        self._printed(said.text)
        self._typed(typed)
        self._printed(output)

    def note(self, typed: str, output: str) -> None:
        """Keep a command that is not kubectl."""
        self._typed(typed)
        self._printed(output)

    def markdown(self) -> str:
        return "\n".join(["```console", *self._lines, "```"])

    def _typed(self, text: str) -> None:
        self._lines.append(f"$ {self._shown(text)}")

    def _printed(self, text: str) -> None:
        self._lines += [self._shown(line.rstrip()) for line in text.rstrip().splitlines()]

    def _shown(self, text: str) -> str:
        """Without what only this run has: its namespace and its folders."""
        text = text.replace(self._access.namespace, _NAMESPACE)
        return re.sub(rf"{re.escape(tempfile.gettempdir())}/\w+/", "", text)


def tell(transcript: Transcript, access: Access, folder: Path) -> None:
    """The session: look around, deploy, follow logs, go in, forward a port, copy a file."""
    where = "{.clusters[0].cluster.server}"
    typed = f"kubectl config view --minify -o jsonpath='{where}'"
    transcript.run("config", "view", "--minify", "-o", f"jsonpath={where}", typed=typed)
    transcript.run("get", "nodes")
    (folder / "web.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": _manifests(access)})
    )
    transcript.run("apply", "-f", str(folder / "web.json"), typed="kubectl apply -f web.yaml")
    transcript.run("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    transcript.run(
        "get", "pods", "-o", "custom-columns=NAME:.metadata.name,PHASE:.status.phase,NODE:.spec.nodeName"
    )
    transcript.run("logs", "-f", "counter")
    script = "hostname; exit 7"
    typed = f"kubectl exec web -- sh -c '{script}'; echo \"exit status $?\""
    transcript.run("exec", "web", "--", "sh", "-c", script, typed=typed, code=7)
    transcript.background("port-forward", "pod/web", ":8080", ready="Forwarding from 127", use=_fetch)
    _copy(transcript, folder)


def _manifests(access: Access) -> list[dict[str, object]]:
    return [_pod(access, "web", "Always", _SERVE), _pod(access, "counter", "Never", _COUNT)]


def _pod(access: Access, name: str, restart: str, script: str) -> dict[str, object]:
    container = {"name": "main", "image": access.image, "imagePullPolicy": "IfNotPresent"}
    container["command"] = ["sh", "-c", script]  # type: ignore[assignment]
    specification = {"terminationGracePeriodSeconds": 0, "restartPolicy": restart, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": specification}


def _fetch(forward: Running) -> tuple[str, str]:
    port = int(forward.output[0].text.split()[2].rpartition(":")[2])
    return f"curl http://127.0.0.1:{port}/", fetch(port, "").decode()


def _copy(transcript: Transcript, folder: Path) -> None:
    sent, back = folder / "sent", folder / "back"
    sent.write_bytes(os.urandom(20_000_000))
    transcript.run("cp", str(sent), "web:/tmp/sent", typed="kubectl cp sent web:/tmp/sent")
    transcript.run("cp", "web:/tmp/sent", str(back), typed="kubectl cp web:/tmp/sent back")
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in (sent, back)]
    assert sums[0].split()[0] == sums[1].split()[0], "the copies differ"
    transcript.note("sha256sum sent back", "\n".join(sums))


def main(arguments: list[str]) -> None:
    """Print the transcript; what goes wrong ends it with a traceback and no transcript."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.transcript", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="the cluster, as its current context")
    parser.add_argument("--image", default="localhost/busybox:1", help="an image with a shell and busybox")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # What the tunnel logged goes to standard error with the rest that is not the transcript.
        with running_tunnel(place / "tunnel", options.kubeconfig.resolve(), log=sys.stderr) as tunnel:
            home = place / "home"
            with open_access("demo", tunnel.kubeconfig, home, image=options.image, simulated=False) as access:
                transcript = Transcript(access)
                transcript.quietly("delete", "pod", "shell")
                tell(transcript, access, place)
    print(transcript.markdown())


if __name__ == "__main__":
    main(sys.argv[1:])
