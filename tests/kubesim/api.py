"""The way of a request: faults, who asks, may they, and who answers."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

from tests.kubesim import discovery, openapi, status
from tests.kubesim.audit import Audit
from tests.kubesim.authentication import Authenticator, UnnamedImpersonation
from tests.kubesim.connection import Connection
from tests.kubesim.containers import ContainerBackend
from tests.kubesim.faults import Cut, Fault, Faults, Pace
from tests.kubesim.http import Request, Response, error_response, json_response, text_response
from tests.kubesim.negotiation import discovery_version
from tests.kubesim.objects import Objects
from tests.kubesim.probes import Probes
from tests.kubesim.rbac import Authorizer, attributes_of
from tests.kubesim.requestinfo import RequestInfo, parse_request
from tests.kubesim.resources import Resource, find_resource
from tests.kubesim.reviews import Reviews
from tests.kubesim.streaming import StreamingFaults, UpgradeRequest, serve_upgrade
from tests.kubesim.subresources import Subresources

_STREAMS = ("exec", "attach", "portforward")


class Api:
    """Answers every request of the simulated API."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        authorizer: Authorizer,
        audit: Audit,
        faults: Faults,
        objects: Objects,
        subresources: Subresources,
        reviews: Reviews,
        probes: Probes,
        backend: ContainerBackend,
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._audit = audit
        self._faults = faults
        self._objects = objects
        self._subresources = subresources
        self._reviews = reviews
        self._probes = probes
        self._backend = backend
        self.address = ""

    async def handle(self, request: Request, connection: Connection) -> Response | None:
        """Answer a request, or take its connection over and return None."""
        faults = self._faults.strike(request)
        struck = await _strike(faults, request, connection)
        if struck is not None:
            return struck if isinstance(struck, Response) else None
        info = parse_request(request)
        try:
            self._admit(request, info)
            if info.subresource in _STREAMS and info.resource == "pods":
                self._audit.record(request, info, 101, "ResponseStarted")
                await self._stream(request, connection, faults)
                return None
            response = await self._answer(request, info)
        except status.ApiError as error:
            response = error_response(request, error)
        except UnnamedImpersonation as error:
            response = error.response()
        self._audit.record(
            request, info, response.status, "ResponseStarted" if response.stream else "ResponseComplete"
        )
        response.headers[:0] = [("Audit-Id", request.audit_id), ("Cache-Control", "no-cache, private")]
        return response

    def _admit(self, request: Request, info: RequestInfo) -> None:
        """Find out who asks, and refuse what they may not."""
        request.actor = self._authenticator.authenticate(request)
        request.user = request.actor
        request.user = self._authenticator.impersonate(request, request.actor)
        self._authorizer.require(request.user, attributes_of(info))

    async def _answer(self, request: Request, info: RequestInfo) -> Response:
        if info.resource:
            return await self._resource(request, info)
        segments = [part for part in request.segments if part]
        if segments[:1] == ["kubesim"]:
            return await self._probes.serve(request, segments[1:])
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        # The real server's routes for what it says about itself take no empty segment but the last.
        found = None if "" in request.segments[:-1] else self._about(request, segments)
        return found if found is not None else text_response("404 page not found\n", 404)

    def _about(self, request: Request, segments: list[str]) -> Response | None:
        """Answer what the API says about itself; None where there is no such page."""
        match segments:
            case []:
                return json_response(request, discovery.paths())
            case ["healthz" | "livez" | "readyz", *_]:
                return text_response("ok")
            case ["version"]:
                return json_response(request, discovery.VERSION)
            case ["api"] | ["apis"]:
                return self._groups(request, segments[0])
            case ["api", "v1"]:
                return json_response(request, discovery.resource_list("", "v1"))
            case ["apis", group, *version]:
                return _group(request, group, version)
            case ["openapi", *rest]:
                return _openapi(request, rest)
        return None

    def _groups(self, request: Request, root: str) -> Response:
        version = discovery_version(request)
        named = root == "apis"
        if version is not None:
            media = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            return json_response(request, discovery.aggregated(named, version), media_type=media)
        if named:
            return json_response(request, discovery.group_list())
        return json_response(request, discovery.api_versions(self.address))

    async def _resource(self, request: Request, info: RequestInfo) -> Response:
        res = find_resource(info.group, info.version, info.resource)
        if res is None:
            if _has_version(info):
                raise status.no_such_resource()
            return text_response("404 page not found\n", 404)
        if info.subresource and info.subresource not in ("status", "ephemeralcontainers", "resize"):
            return await self._subresources.serve(request, info, res)
        verbs = _verbs(res, info)
        if verbs is None:
            raise status.no_such_resource()
        if info.verb not in verbs:
            raise status.method_not_allowed()
        if not res.stored:
            return await self._review(request, info, res)
        return await self._objects.serve(request, info, res)

    async def _review(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        body = await request.object()
        if res.kind == "Binding":
            return self._subresources.bind(request, info, body)
        self._objects.checked(request, res, body)
        answer = self._reviews.answer(res.kind, body, request)
        answer = {"kind": res.kind, "apiVersion": res.api_version} | answer
        return json_response(request, answer, 201)

    async def _stream(self, request: Request, connection: Connection, faults: list[Fault]) -> None:
        connection.take_over()
        upgrade = UpgradeRequest(request.method, request.path, request.pairs, request.headers)
        reader, writer = connection.reader, connection.writer
        await serve_upgrade(upgrade, reader, writer, self._backend, faults=_streaming(faults))


def _openapi(request: Request, rest: list[str]) -> Response | None:
    match rest:
        case ["v2"]:
            media = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
            return Response(200, [("Content-Type", media)], openapi.version_two(), compressible=True)
        case ["v3"]:
            return json_response(request, openapi.index())
        case ["v3", *name]:
            document = openapi.document("/".join(name))
            if document is not None:
                return Response(200, [("Content-Type", "application/json")], document, compressible=True)
    return None


def _verbs(res: Resource, info: RequestInfo) -> tuple[str, ...] | None:
    if not info.subresource:
        return res.verbs
    sub = res.subresource(info.subresource)
    return sub.verbs if sub else None


def _has_version(info: RequestInfo) -> bool:
    return discovery.resource_list(info.group, info.version) is not None


def _group(request: Request, group: str, version: list[str]) -> Response | None:
    found: dict[str, Any] | None = None
    if not version and discovery.resource_list(group, "v1"):
        found = {"kind": "APIGroup", "apiVersion": "v1"} | discovery.group(group)
    elif len(version) == 1:
        found = discovery.resource_list(group, version[0])
    return json_response(request, found) if found is not None else None


async def _strike(faults: list[Fault], request: Request, connection: Connection) -> Response | bool | None:
    """Let the faults strike: an answer, True where the connection is over, None where the request goes on."""
    for fault in faults:
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "hang":
            # The reader tells when the client gives up; nothing is ever answered.
            with contextlib.suppress(ConnectionError):
                while await connection.reader.read(65536):
                    pass
            return True
        elif fault.kind in ("reset", "close"):
            connection.abort(reset=fault.kind == "reset")
            return True
        elif fault.kind == "status":
            return error_response(request, fault.error())
        elif fault.kind == "redirect" and not request.upgrade:
            return Response(302, [("Location", fault.location)])
        elif fault.kind == "informational" and not request.upgrade:
            connection.send_informational(fault.code)
    connection.pace = next((Pace(f.rate) for f in faults if f.kind == "slow"), None)
    connection.cut = next((Cut(f.bytes, f.hard) for f in faults if f.kind == "cut"), None)
    return None


def _streaming(faults: list[Fault]) -> StreamingFaults:
    """Return what the faults mean for an upgrade."""
    found = StreamingFaults()
    for fault in faults:
        if fault.kind == "refuse-websocket":
            found = replace(found, refuse_websocket=True)
        elif fault.kind == "refuse-upgrade":
            found = replace(found, refuse_all=True)
        elif fault.kind == "informational":
            found = replace(found, informational=fault.code)
        elif fault.kind == "early-bytes":
            found = replace(found, first_frame_with_head=True)
        elif fault.kind == "redirect":
            found = replace(found, answer=302)
        elif fault.kind == "cut":
            found = replace(found, cut_after_bytes=fault.bytes)
        elif fault.kind == "early-close":
            found = replace(found, close_behind_status=True)
        elif fault.kind == "late-status":
            found = replace(found, status_delay=fault.seconds)
    return found
