"""Target: the calls that get certificates: their bodies at the stub, their answers at an agent, join tokens and URLs."""

from contextlib import suppress

from certs.call import Answer, Call, CallFailed, Request
from certs.names import check_cluster, check_groups, check_uid, check_user
from certs.signed import SigningRefused, read_authority, read_body, read_signed
from certs.tokens import PREFIX, new_token, parse_token
from stub.signing.documents import _request
from stub.signing.oidc import FetchFailed
from tests.fuzz.material import Material, cut

TOKEN = f"{PREFIX}.0123456789.{'A' * 43}.{'B' * 43}"
SEEDS = (
    b'\0{"token": "%b", "request": "-----BEGIN", "clusterUid": "u-1"}' % TOKEN.encode(),
    b'\0{"request": "\\ud800", "idToken": "a.b.c"}',
    b"\1" + TOKEN.encode(),
    b'\2HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"authority": "x"}',
    b"\2HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b'\2HTTP/1.1 403 Forbidden\r\nContent-Length: 17\r\n\r\n{"message": "no"}',
    b"\3https://issuer.example.com:8443/keys?a=b",
    b"\3https://[::1]:0/\r\nHost: x",
)


class Line:
    """A connection on which nothing is sent."""

    def write(self, data: bytes) -> None:
        """It goes nowhere."""

    def abort(self) -> None:
        """There is nothing to close."""


def check_body(text: bytes) -> None:
    """A body is texts that can all be encoded, or a ValueError."""
    with suppress(ValueError):
        for value in read_body(text, "request").values():
            value.encode()
    for status in (200, 403):
        for read in (read_authority, read_signed):
            with suppress(SigningRefused):
                read(Answer(status, text))


def check_names(text: str) -> None:
    """A token is one that reads the same again; a name is one or a ValueError."""
    with suppress(ValueError):
        assert parse_token(parse_token(text).text) == parse_token(text)
        assert parse_token(text).is_of(parse_token(text).digest)
        assert not parse_token(text).is_of(new_token(bytes(32)).digest)
    for check in (check_cluster, check_uid, check_user):
        with suppress(ValueError):
            check(text).encode()
    with suppress(ValueError):
        check_groups(text.split(","))


def answered(chunks: list[bytes]) -> Answer | str:
    """What a call makes of an answer that comes in `chunks`."""
    call, connection = Call(Request("x", "/")), Line()
    call.stream_opened(connection)
    for chunk in chunks:
        call.stream_received(memoryview(chunk))
    call.stream_ended()
    waiting = call.answer()
    try:
        waiting.send(None)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    except CallFailed:
        return "failed"
    raise AssertionError("it waits although all is there")


def check_url(text: str) -> None:
    """A URL becomes a request of one line and one Host, or is refused."""
    try:
        host, port, request = _request(text)
    except FetchFailed:
        return
    assert host
    assert 0 < port < 65536
    head = request.encoded()
    assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") == 6
    assert head.split(b"\r\n")[0].count(b" ") == 2


def one_input(data: bytes) -> None:
    """Invariants: a body, an answer, a token, a name and a URL are read or refused by the error that their reader documents; what
    is read can be encoded; an answer is the same however it was cut."""
    material = Material(data)
    kind, text = material.byte() % 4, material.rest()
    if kind == 0:
        check_body(text)
    elif kind == 1:
        check_names(text.decode("utf-8", "surrogatepass") if _is_text(text) else text.decode("latin-1"))
    elif kind == 2:
        assert answered([text]) == answered(list(cut(text, 1))) == answered(list(cut(text, 7)))
    else:
        check_url(text.decode("latin-1"))


def _is_text(text: bytes) -> bool:
    try:
        text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
