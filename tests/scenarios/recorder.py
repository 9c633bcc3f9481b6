"""A door in front of a cluster's API that writes down what arrives and can answer in the cluster's place.

It is a process of its own, so that a test's own sockets stay the test's: `python -m tests.scenarios.recorder KUBECONFIG
FOLDER`. Folder: `kubeconfig` leads to it, `heads` holds one JSON line for each request, `answers` what a test wants.
"""

import asyncio
import base64
import contextlib
import json
import re
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.scenarios.processes import running
from tests.scenarios.selfsigned import self_signed

TOKEN = "the-recorders-own-token"
_READY = "recorder: ready"


@dataclass(frozen=True)
class Head:
    """The head of a request as it arrived."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """The values of all lines of this name, in their order."""
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def upgrade(self) -> str:
        """The protocol it asks to change to, in lower case, or nothing."""
        return ",".join(self.values("upgrade")).lower()


def status(code: int, reason: str, message: str, *fields: str) -> bytes:
    """A whole answer that carries a Kubernetes Status and further header lines."""
    document = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    body = json.dumps(document | {"message": message, "reason": reason, "code": code}).encode()
    lines = [
        f"HTTP/1.1 {code} {reason}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *fields,
    ]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


@dataclass
class Recorder:
    """What was recorded, and what is answered in the cluster's place."""

    folder: Path

    @property
    def kubeconfig(self) -> Path:
        """Leads to the recorder, with `TOKEN` as its credential, for which it puts the cluster's real one."""
        return self.folder / "kubeconfig"

    @property
    def heads(self) -> list[Head]:
        lines = (self.folder / "heads").read_text().splitlines()
        heads = (json.loads(line) for line in lines)
        return [Head(head[0], head[1], tuple((name, value) for name, value in head[2])) for head in heads]

    def seen(self, text: str) -> list[Head]:
        """The recorded requests whose target holds the text."""
        return [head for head in self.heads if text in head.target]

    def answer(self, answer: bytes, *, upgrade: str = "", target: str = "") -> None:
        """Send this for requests whose upgrade and target match the patterns; replaces what was asked for before."""
        rule = {"upgrade": upgrade, "target": target, "answer": answer.decode("latin-1")}
        (self.folder / "answers").write_text(json.dumps(rule))

    def forget(self) -> None:
        """Forget what was recorded and let the cluster answer."""
        (self.folder / "answers").write_text("")
        (self.folder / "heads").write_text("")


@contextlib.contextmanager
def recording(upstream: Path, folder: Path) -> Iterator[Recorder]:
    """A recorder in front of the cluster of this kubeconfig, for as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(folder)
    recorder.forget()
    with running([sys.executable, "-m", "tests.scenarios.recorder", upstream, folder]) as process:
        process.wait_for_text(_READY)
        yield recorder


# The process ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cluster:
    """Where the real API is and what it wants to see."""

    host: str
    port: int
    context: ssl.SSLContext
    authorization: str | None

    @classmethod
    def of(cls, kubeconfig: Path, folder: Path) -> "_Cluster":
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        context = ssl.create_default_context(cadata=_embedded(cluster, "certificate-authority").decode())
        # Cluster authorities without key identifiers are common, and a stricter Python refuses them.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if "client-certificate-data" in user or "client-certificate" in user:
            pair = folder / "upstream.pem"
            pair.write_bytes(_embedded(user, "client-certificate") + b"\n" + _embedded(user, "client-key"))
            context.load_cert_chain(pair)
        server = urlsplit(cluster["server"])
        token = f"Bearer {user['token']}" if "token" in user else None
        return cls(server.hostname or "", server.port or 443, context, token)


def _embedded(section: dict[str, Any], name: str) -> bytes:
    data = section.get(f"{name}-data")
    return base64.b64decode(data) if data else Path(section[name]).read_bytes()


@dataclass
class _Door:
    """Serves one connection after the other."""

    folder: Path
    cluster: _Cluster

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            try:
                await self._serve_requests(client, back)
            finally:
                back.close()

    async def _serve_requests(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        cluster = self.cluster
        upstream, forth = await asyncio.open_connection(cluster.host, cluster.port, ssl=cluster.context)
        answers = asyncio.create_task(_relay(upstream, back))
        try:
            while head := await self._read_head(client):
                own = self._own_answer(head)
                if own is not None:
                    back.write(own)
                    await back.drain()
                    return
                await self._forward(head, client, forth)
        finally:
            answers.cancel()
            forth.close()

    async def _read_head(self, client: asyncio.StreamReader) -> Head | None:
        try:
            raw = await client.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in lines)
        head = Head(method, target, tuple((name, value.strip()) for name, value in pairs))
        with (self.folder / "heads").open("a") as heads:
            heads.write(json.dumps([head.method, head.target, head.fields]) + "\n")
        return head

    def _own_answer(self, head: Head) -> bytes | None:
        text = (self.folder / "answers").read_text()
        if not text:
            return None
        rule = json.loads(text)
        matches = re.search(rule["upgrade"], head.upgrade) and re.search(rule["target"], head.target)
        return rule["answer"].encode("latin-1") if matches else None

    async def _forward(self, head: Head, client: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        fields = [f"{name}: {value}" for name, value in head.fields if name.lower() != "authorization"]
        if self.cluster.authorization:
            fields.append(f"Authorization: {self.cluster.authorization}")
        forth.write("\r\n".join([f"{head.method} {head.target} HTTP/1.1", *fields, "", ""]).encode("latin-1"))
        if head.upgrade:
            await _relay(client, forth)
            return
        if head.values("transfer-encoding"):
            await _pass_chunks(client, forth)
        length = int((head.values("content-length") or ["0"])[0])
        forth.write(await client.readexactly(length))
        await forth.drain()


async def _pass_chunks(client: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
    size = -1
    while size:
        line = await client.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        forth.write(line + await client.readexactly(size + 2))
        await forth.drain()


async def _relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()


def _write_kubeconfig(path: Path, url: str, certificate: Path) -> None:
    cluster = {
        "server": url,
        "certificate-authority-data": base64.b64encode(certificate.read_bytes()).decode(),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "recorder", "cluster": cluster}],
        "users": [{"name": "recorder", "user": {"token": TOKEN}}],
        "contexts": [{"name": "recorder", "context": {"cluster": "recorder", "user": "recorder"}}],
        "current-context": "recorder",
    }
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)


async def _serve(kubeconfig: Path, folder: Path) -> None:
    certificate, context = self_signed(folder)
    door = _Door(folder, _Cluster.of(kubeconfig, folder))
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0, ssl=context, limit=2**20)
    port = server.sockets[0].getsockname()[1]
    _write_kubeconfig(folder / "kubeconfig", f"https://127.0.0.1:{port}", certificate)
    print(_READY, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2])))
