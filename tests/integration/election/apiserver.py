"""An apiserver with nothing but one Lease and some Pods, and faults that are switched on."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

LEASE = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
PODS = "/api/v1/namespaces/ns/pods"


class Apiserver:
    """The server.

    Attributes:
        fault: what every request is answered with instead: a status and a body; or "hang", "reset".
        seen: method and path of every request, and the Authorization it carried.
        watch_lines: raw lines that a watch tells, before it ends.
    """

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.pods: dict[str, dict[str, str]] = {}
        self.fault: tuple[int, str] | str | None = None
        self.seen: list[tuple[str, str, str]] = []
        self.queries: list[dict[str, str]] = []
        self.watch_lines: list[bytes] = []
        self._version = 0
        self.url = ""

    def lines(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.seen]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path, request.headers.get("Authorization", "")))
        self.queries.append(dict(request.query))
        if self.fault == "hang":
            await asyncio.Event().wait()
        if self.fault == "reset":
            assert request.transport is not None
            request.transport.abort()
            raise asyncio.CancelledError
        if isinstance(self.fault, tuple):
            return web.Response(status=self.fault[0], text=self.fault[1], content_type="text/html")
        if request.path.startswith(PODS):
            return await self._serve_pods(request)
        if request.query.get("watch"):
            return await self._serve_watch(request)
        return await self._serve_lease(request)

    async def _serve_lease(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            if self.lease is not None:
                return _status(409, "already exists")
            return self._store(await request.json(), 201, uid="uid-1")
        if self.lease is None:
            return _status(404, "not found")
        if request.method == "PUT":
            body = await request.json()
            if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                return _status(409, "the object has been modified")
            return self._store(body, 200, uid=self.lease["metadata"]["uid"])
        return web.json_response(self.lease)

    def _store(self, body: dict[str, Any], status: int, uid: str) -> web.Response:
        self._version += 1
        body["metadata"] |= {"resourceVersion": str(self._version), "uid": uid}
        self.lease = body
        return web.json_response(body, status=status)

    async def _serve_watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in self.watch_lines:
            await response.write(line)
        await response.write_eof()
        return response

    async def _serve_pods(self, request: web.Request) -> web.Response:
        if request.method == "PATCH":
            assert request.content_type == "application/strategic-merge-patch+json"
            name = request.path.removeprefix(f"{PODS}/")
            if name not in self.pods:
                return _status(404, "not found")
            for key, value in (await request.json())["metadata"]["labels"].items():
                self.pods[name].pop(key, None)
                self.pods[name] |= {key: value} if value is not None else {}
            return web.json_response({"metadata": {"name": name, "labels": self.pods[name]}})
        wanted = [part.partition("=") for part in request.query["labelSelector"].split(",")]
        items = [
            {"metadata": {"name": name, "labels": labels}}
            for name, labels in self.pods.items()
            if all(key in labels and (not equals or labels[key] == value) for key, equals, value in wanted)
        ]
        return web.json_response({"kind": "PodList", "items": items})


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@contextlib.asynccontextmanager
async def running_apiserver(tls: ssl.SSLContext | None = None) -> AsyncIterator[Apiserver]:
    server = Apiserver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        server.url = "{}://{}:{}".format("https" if tls else "http", *runner.addresses[0][:2])
        yield server
    finally:
        await runner.cleanup()


def write_kubeconfig(
    path: Path, url: str, user: dict[str, Any], *, certificate_authority: Path | None = None
) -> Path:
    """Write a kubeconfig, in JSON, which is YAML too."""
    trust = {"certificate-authority": str(certificate_authority)} if certificate_authority else {}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url} | trust}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(config))
    return path
