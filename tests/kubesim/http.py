"""Requests and responses as the API's handlers see them; the bytes are `server`'s business."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import yaml

from tests.kubesim import protobuf, status

Headers = list[tuple[str, str]]

BODY_BYTES: Final = 3 * 1024 * 1024
"""The apiserver's own bound on what is written to etcd."""


@dataclass(slots=True)
class User:
    """Who acts."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        """Return the UserInfo object."""
        info: dict[str, Any] = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        info["groups"] = list(self.groups)
        return info | ({"extra": self.extra} if self.extra else {})


@dataclass(slots=True)
class Request:
    """A request whose head was read.

    Attributes:
        target: as received, byte for byte.
        read_body: returns the next piece of the body, and b"" at its end.
        peer_certificate: the client's certificate as DER, None without one.
        audit_id: of the client, or made here.
        user: set once authenticated; who the call acts as.
        actor: who it really is, where the call impersonates; else the same as `user`.
        gone: set when the client hung up.
    """

    method: str
    target: str
    headers: Headers
    read_body: Callable[[], Awaitable[bytes]]
    peer_certificate: bytes | None
    peer: str
    audit_id: str
    user: User = field(default_factory=lambda: User("system:anonymous", ("system:unauthenticated",)))
    actor: User | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def segments(self) -> list[str]:
        """The decoded segments of the path, without the first, empty one."""
        return [unquote(part) for part in self.path.split("/")[1:]]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The decoded query."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    def query(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.pairs if key == name), default)

    def flag(self, name: str) -> bool:
        return self.query(name).lower() in ("1", "t", "true")

    def number(self, name: str) -> int | None:
        """Return a whole number of the query, None where it is absent.

        Raises:
            ApiError: 400, it is no number.
        """
        text = self.query(name)
        if not text:
            return None
        if not text.lstrip("-").isdigit():
            raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        return int(text)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def media_type(self) -> str:
        return self.header("content-type").partition(";")[0].strip().lower()

    @property
    def upgrade(self) -> bool:
        """Whether the client asks for an upgrade, by the apiserver's own loose test."""
        return any("upgrade" in value.lower() for value in self.header_values("connection"))

    @property
    def pretty(self) -> bool:
        if self.query("pretty"):
            return self.flag("pretty")
        agent = self.header("user-agent")
        return agent.startswith(("curl", "Go-http-client", "Mozilla"))

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            ApiError: 413 above 3 MiB.
        """
        parts: list[bytes] = []
        size = 0
        while data := await self.read_body():
            size += len(data)
            if size > BODY_BYTES:
                raise status.too_large()
            parts.append(data)
        return b"".join(parts)

    async def object(self) -> dict[str, Any]:
        """Return the body as an object, whatever of the accepted types it is written in.

        Raises:
            ApiError: 415 another type, 400 not an object.
        """
        data = await self.body()
        kind = self.media_type
        if kind == "application/vnd.kubernetes.protobuf":
            return protobuf.decode(data)
        if kind not in ("application/json", "application/yaml"):
            accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
            raise status.unsupported_media_type(accepted)
        return parse(data, yaml_too=kind == "application/yaml")


def parse(data: bytes, *, yaml_too: bool) -> dict[str, Any]:
    """Return JSON (or YAML) text as an object.

    Raises:
        ApiError: 400, it is none.
    """
    try:
        found = yaml.safe_load(data) if yaml_too else json.loads(data)
    except (ValueError, yaml.YAMLError) as error:
        text = data[:100].decode("utf-8", "replace")
        why = f"couldn't get version/kind; json parse error: {error} ({text})"
        raise status.bad_request(f"the object provided is unrecognized: {why}") from error
    if not isinstance(found, dict):
        raise status.bad_request("the object provided is unrecognized: it is not an object")
    return found


@dataclass(slots=True)
class Response:
    """An answer: a body, or a stream of pieces that are flushed one by one."""

    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    compressible: bool = False


def dumps(value: Any, *, pretty: bool = False) -> bytes:
    """Return JSON as Go writes it: no white space, `<`, `>` and `&` escaped."""
    if pretty:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    else:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if "<" in text or ">" in text or "&" in text:
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return text.encode()


def json_response(
    request: Request,
    value: Any,
    code: int = 200,
    media_type: str = "application/json",
    headers: Headers | None = None,
) -> Response:
    """Return a JSON answer, in YAML where the client asks for only that."""
    accepted = request.header("accept")
    if accepted.startswith("application/yaml"):
        body, media_type = yaml.safe_dump(value, sort_keys=False).encode(), "application/yaml"
    else:
        body = dumps(value, pretty=True) if request.pretty else dumps(value) + b"\n"
    return Response(code, [("Content-Type", media_type), *(headers or [])], body, compressible=True)


def error_response(request: Request, error: status.ApiError) -> Response:
    """Return the Status of an error."""
    response = json_response(request, error.body(), error.code, headers=list(error.headers))
    response.compressible = False
    return response


def text_response(text: str, code: int = 200) -> Response:
    """Return plain text, as the health endpoints and unknown paths answer."""
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    return Response(code, headers, text.encode())
