"""What hangs below an object and is no object itself: scale, log, proxy, eviction, binding, token, finalize."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import h11

from tests.kubesim import patches, status
from tests.kubesim.containers import ContainerBackend, ContainerRefusal, PodName
from tests.kubesim.http import Request, Response, json_response, parse
from tests.kubesim.logs import LogOptions, Logs
from tests.kubesim.objects import Objects, write_options
from tests.kubesim.registry import CONTROLLER, Registry
from tests.kubesim.requestinfo import RequestInfo
from tests.kubesim.resources import Resource, resource
from tests.kubesim.reviews import Reviews
from tests.kubesim.store import Object

_HOP_BY_HOP = (
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)


class Subresources:
    """Serves requests on subresources with a rule of their own."""

    def __init__(
        self, registry: Registry, objects: Objects, reviews: Reviews, logs: Logs, backend: ContainerBackend
    ) -> None:
        self._registry = registry
        self._store = registry.store
        self._objects = objects
        self._reviews = reviews
        self._logs = logs
        self._backend = backend

    async def serve(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        """Answer a request on a subresource.

        Raises:
            ApiError: 404 there is none of that name, 405 it does not take this verb, or its own refusals.
        """
        sub = res.subresource(info.subresource)
        if sub is None:
            raise status.no_such_resource()
        if info.subresource == "proxy":
            return await self._proxy(request, info, res)
        if info.verb not in sub.verbs:
            raise status.method_not_allowed()
        namespace = info.namespace if res.namespaced else ""
        obj = self._store.get(res, namespace, info.name)
        match info.subresource:
            case "scale":
                return await self._scale(request, info, res, obj)
            case "log":
                return self._log(request, obj)
            case "eviction":
                return await self._evict(request, info)
            case "binding":
                return self.bind(request, info, await request.object())
            case "token":
                body = await request.object()
                answer = self._reviews.token_request(info.namespace, info.name, body)
                return json_response(request, answer, 201)
            case "finalize":
                return await self._finalize(request, info, res)
        raise status.no_such_resource()

    async def _scale(self, request: Request, info: RequestInfo, res: Resource, obj: Object) -> Response:
        if info.verb == "get":
            return json_response(request, _scale_of(obj))
        data = await request.body()
        scale = _scale_of(obj)
        scale = _patched_scale(request, scale, data) if info.verb == "patch" else parse(data, yaml_too=True)
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        version = (scale.get("metadata") or {}).get("resourceVersion")

        def change(current: Object) -> Object:
            if version:
                current["metadata"]["resourceVersion"] = version
            current["spec"]["replicas"] = replicas
            return current

        updated = self._registry.update(res, info.namespace, info.name, change, write_options(request, info))
        return json_response(request, _scale_of(updated))

    def _log(self, request: Request, pod: Object) -> Response:
        text = self._logs.open(pod, LogOptions.of(request))
        return Response(200, [("Content-Type", "text/plain")], stream=text)

    async def _evict(self, request: Request, info: RequestInfo) -> Response:
        body = await request.object()
        grace = (body.get("deleteOptions") or {}).get("gracePeriodSeconds")
        self._registry.delete(resource("pods"), info.namespace, info.name, grace=grace)
        answer = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return json_response(request, answer, 201)

    def bind(self, request: Request, info: RequestInfo, body: Object) -> Response:
        """Put a pod on a node, as a scheduler does."""
        name = info.name or body["metadata"]["name"]

        def change(pod: Object) -> Object:
            pod["spec"]["nodeName"] = body["target"]["name"]
            return pod

        self._registry.update(resource("pods"), info.namespace, name, change, CONTROLLER)
        answer = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return json_response(request, answer, 201)

    async def _finalize(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        body = await request.object()

        def change(current: Object) -> Object:
            current["spec"]["finalizers"] = (body.get("spec") or {}).get("finalizers") or []
            return current

        updated = self._registry.update(res, "", info.name, change, write_options(request, info))
        return json_response(request, updated)

    async def _proxy(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        """Carry a request to the HTTP server in a pod, or in a pod behind a service."""
        bare = request.path.rstrip("/")
        if not info.rest and not request.path.endswith("/"):
            query = request.target.partition("?")[2]
            location = f"{bare.rpartition('/')[2]}/" + (f"?{query}" if query else "")
            return Response(301, [("Location", location)])
        pod, port = self._backing(info, res)
        prefix = "/".join(request.path.split("/")[: len(request.path.split("/")) - len(_tail(request, info))])
        target = request.target[len(prefix) :] or "/"
        try:
            reader, writer = await self._backend.dial(pod, port)
        except (OSError, ContainerRefusal) as error:
            text = f"error trying to reach service: {error}"
            raise status.ApiError(503, "ServiceUnavailable", text) from error
        return await _forward(request, target, reader, writer)

    def _backing(self, info: RequestInfo, res: Resource) -> tuple[PodName, int]:
        """Return the pod and the port that a proxy path such as `https:web:http` names."""
        parts = info.name.split(":")
        name, port = (
            (parts[1], parts[2]) if len(parts) == 3 else (parts[0], parts[1] if len(parts) == 2 else "")
        )
        obj = self._store.get(res, info.namespace if res.namespaced else "", name)
        if res.plural == "pods":
            declared = [p["containerPort"] for c in obj["spec"]["containers"] for p in c.get("ports") or []]
            return PodName(info.namespace, name), int(port) if port.isdigit() else (declared or [80])[0]
        if res.plural != "services":
            raise status.ApiError(
                503, "ServiceUnavailable", f"no endpoints available for {res.plural} {name!r}"
            )
        return self._endpoint(obj, port)

    def _endpoint(self, service: Object, port: str) -> tuple[PodName, int]:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        endpoints = self._store.peek(resource("endpoints"), namespace, name)
        for subset in (endpoints or {}).get("subsets") or []:
            wanted = [
                p for p in service["spec"].get("ports") or [] if port in ("", str(p["port"]), p.get("name"))
            ]
            for address in subset.get("addresses") or []:
                for entry in subset.get("ports") or []:
                    if wanted and entry.get("name") == wanted[0].get("name"):
                        return PodName(namespace, address["targetRef"]["name"]), entry["port"]
        raise status.ApiError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')


def _tail(request: Request, info: RequestInfo) -> list[str]:
    """Return the raw segments behind `proxy`."""
    raw = request.path.split("/")
    return raw[raw.index("proxy") + 1 :]


def _scale_of(obj: Object) -> Object:
    meta = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = obj["spec"].get("selector", {}).get("matchLabels") or {}
    selector = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
    count = obj.get("status", {}).get("replicas", 0)
    return {
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {k: meta[k] for k in kept},
        "spec": {"replicas": obj["spec"].get("replicas", 0)}, "status": {"replicas": count, "selector": selector},
    }  # fmt: skip


def _patched_scale(request: Request, scale: Object, data: bytes) -> Object:
    if request.media_type == "application/json-patch+json":
        patched: Any = patches.json_patch(scale, json.loads(data))
        return dict(patched)
    return dict(patches.merge_patch(copy.deepcopy(scale), parse(data, yaml_too=True)))


async def _forward(
    request: Request, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Response:
    """Send a request over a fresh connection and return its answer as a stream."""
    client = h11.Connection(h11.CLIENT)
    headers = [(k, v) for k, v in request.headers if k.lower() not in (*_HOP_BY_HOP, "authorization")]
    sized = request.header("content-length") or request.header("transfer-encoding")
    if sized and not request.header("content-length"):
        headers.append(("Transfer-Encoding", "chunked"))
    headers.append(("Connection", "close"))
    head = h11.Request(method=request.method, target=target, headers=headers)
    writer.write(client.send(head) or b"")
    while data := await request.read_body():
        writer.write(client.send(h11.Data(data=data)) or b"")
        await writer.drain()
    writer.write(client.send(h11.EndOfMessage()) or b"")
    answer = await _next(client, reader)
    while isinstance(answer, h11.InformationalResponse):
        answer = await _next(client, reader)
    if not isinstance(answer, h11.Response):
        writer.close()
        raise status.ApiError(502, "BadGateway", "error trying to reach service: EOF")
    kept = [(k.decode(), v.decode("latin-1")) for k, v in answer.headers if k.decode() not in _HOP_BY_HOP]
    return Response(answer.status_code, kept, stream=_answer_body(client, reader, writer))


async def _next(client: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := client.next_event()) is h11.NEED_DATA:
        client.receive_data(await reader.read(65536))
    return event


async def _answer_body(
    client: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncIterator[bytes]:
    try:
        while isinstance(event := await _next(client, reader), h11.Data):
            yield bytes(event.data)
    finally:
        writer.close()
