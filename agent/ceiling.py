"""What the cluster's owner allows at most, whatever a stub asks for. For now: what is built in."""

from tunnel.core.errors import BadRequest, Forbidden, PeerViolation
from tunnel.core.http.message import Field
from tunnel.core.identity import Identity, check_identity, impersonation_fields
from tunnel.core.wire.exchange import caller_pairs

_CACHED_CALLERS = 4096


class Ceiling:
    """Turns the caller that a REQUEST names into the fields that make the apiserver act as it.

    The stub is not trusted: names are checked here again, and `system:` ones are refused.

    Args:
        impersonate: False in token mode, where the apiserver sees the agent itself; the names are checked all the same.
    """

    def __init__(self, *, impersonate: bool) -> None:
        self._impersonate = impersonate
        self._decided: dict[bytes, list[Field]] = {}

    def caller_fields(self, caller: bytes) -> list[Field]:
        """Return the fields for a REQUEST's caller block; the same block is decided about once.

        Raises:
            Forbidden: the caller is above the ceiling.
            BadRequest: the block names no user, or something this version does not know.
        """
        fields = self._decided.get(caller)
        if fields is None:
            fields = self._decide(caller)
            if len(self._decided) >= _CACHED_CALLERS:
                self._decided.clear()
            self._decided[caller] = fields
        return fields

    def _decide(self, caller: bytes) -> list[Field]:
        identity, address = _parse(caller)
        try:
            check_identity(identity)
        except Forbidden as refusal:
            raise Forbidden(f"above the cluster's ceiling: {refusal.message}") from refusal
        fields = impersonation_fields(identity) if self._impersonate else []
        if address:
            fields.append((b"X-Forwarded-For", address))
        return fields


def _parse(caller: bytes) -> tuple[Identity, bytes]:
    user, uid, address = "", None, b""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    try:
        for name, value in caller_pairs(caller):
            match name:
                case b"user":
                    user = value.decode()
                case b"uid":
                    uid = value.decode()
                case b"group":
                    groups.append(value.decode())
                case b"address":
                    address = _checked_address(value)
                case _ if name.startswith(b"extra/"):
                    extra.setdefault(name[6:].decode(), []).append(value.decode())
                case _:
                    # To overlook part of an identity could mean more rights than the stub meant to give.
                    raise BadRequest(
                        "the stub names the caller in a way this agent does not know; upgrade the agent"
                    )
    except (UnicodeDecodeError, PeerViolation):
        raise BadRequest("the stub's description of the caller cannot be read") from None
    pairs = tuple((key, tuple(values)) for key, values in extra.items())
    return Identity(user, tuple(groups), uid, pairs), address


def _checked_address(value: bytes) -> bytes:
    address = value.partition(b"%")[0]  # a link-local one's zone means nothing on another machine
    if len(value) > 64 or address.translate(None, b"0123456789abcdefABCDEF.:"):
        raise BadRequest("the stub's word for the client's address is not an address")
    return address
