"""Which decoders watch an exec, by the protocol that it was opened with."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from stub.recording.spdy import SpdyDecoder, Streams
from stub.recording.stdio import OUTPUT, Decoder, Stdio, Undecodable
from stub.recording.websocket import WebSocketDecoder
from tunnel.core.http.fields import lookup
from tunnel.core.http.message import Field
from tunnel.core.http.upgrade import Upgrade

_BASE64: Final = {
    b"": False,
    b"channel.k8s.io": False,
    b"base64.channel.k8s.io": True,
    b"v4.channel.k8s.io": False,
    b"v4.base64.channel.k8s.io": True,
    b"v5.channel.k8s.io": False,
}
"""The subprotocols of WebSocket, and whether their messages are base64."""


@dataclass(frozen=True, slots=True)
class Decoders:
    """One for each direction."""

    client: Decoder
    server: Decoder


def check_offer(upgrade: Upgrade, fields: list[Field]) -> None:
    """Hold what a client offers to what is known here: with whichever of it the server takes, the exec can be decoded.

    Raises:
        Undecodable: it offers something else.
    """
    if upgrade is Upgrade.WEBSOCKET:
        for name in offered(fields):
            _is_base64(name)


def decoders_for(upgrade: Upgrade, answer: list[Field], *, with_input: bool) -> Decoders:
    """Return what decodes an exec.

    Args:
        answer: the fields of the 101.
        with_input: whether the client's input is wanted too.

    Raises:
        Undecodable: the protocol agreed on is not known here.
    """
    wanted = frozenset({Stdio.RESIZE, Stdio.STDIN}) if with_input else frozenset({Stdio.RESIZE})
    if upgrade is Upgrade.SPDY:
        streams: Streams = {}
        return Decoders(
            SpdyDecoder(wanted, streams, from_client=True), SpdyDecoder(OUTPUT, streams, from_client=False)
        )
    if lookup(answer, b"sec-websocket-extensions"):
        raise Undecodable("a WebSocket with extensions cannot be decoded")
    names = offered(answer)
    if len(names) > 1:
        raise Undecodable("several subprotocols of WebSocket are agreed on")
    base64 = _is_base64(names[0] if names else b"")
    return Decoders(
        _websocket(wanted, base64, from_client=True), _websocket(OUTPUT, base64, from_client=False)
    )


def _websocket(wanted: Collection[Stdio], base64: bool, *, from_client: bool) -> Decoder:
    return WebSocketDecoder(wanted, from_client=from_client, base64=base64)


def offered(fields: list[Field]) -> list[bytes]:
    """Return the subprotocols of WebSocket in a head."""
    values = lookup(fields, b"sec-websocket-protocol")
    return [name.strip() for value in values for name in value.split(b",")]


def _is_base64(name: bytes) -> bool:
    if name not in _BASE64:
        raise Undecodable(f"the subprotocol {name[:64].decode('latin-1')!r} cannot be decoded")
    return _BASE64[name]
