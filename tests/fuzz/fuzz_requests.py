"""Target: what a client sends, cut into requests by the stub's parser and judged by its rules."""

from collections.abc import Iterable

import httptools

from stub.front.admission import Admission, AdmissionRules
from stub.front.parser import RequestParser
from tests.fuzz.material import Material, cut
from tests.unit.stub.parts import BLUE, peers
from tunnel.core.errors import Refusal
from tunnel.core.http.message import RequestHead
from tunnel.core.http.render import field_lines, render_request
from tunnel.core.http.target import is_version_1_1

SEEDS = (
    b"\5GET /api/v1/pods?limit=5 HTTP/1.1\r\nHost: blue.example.com\r\nAccept: */*\r\n\r\n",
    b"\5POST /clusters/red/api HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\2PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nTr: 1\r\n\r\n",
    b"\5GET /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nearly",
    b"\5GET /exec HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Protocol: a, base64url.bearer.authorization.k8s.io.x\r\n\r\n",
    b"\1GET / HTTP/1.0\r\nConnection: Impersonate-User\r\nExpect: 100-continue\r\nX_Remote_User: a\r\n\r\n",
    b"\5GET http://red.example.com/ HTTP/1.1\r\nHost: blue.example.com\r\nImpersonate-User: root\r\n\r\n",
    b"\5POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
)

RULES = AdmissionRules(default_cluster=BLUE, domain="example.com")
TOLD_BY_US = {b"connection", b"upgrade", b"host", b"content-length", b"transfer-encoding", b"expect"}


class Cut:
    """A connection's requests: `said` is what came of the bytes, `open` whether more of them would be believed."""

    def __init__(self) -> None:
        self.parser = RequestParser(self)
        self.admission = Admission(RULES, peers())
        self.said: list[object] = []
        self.open = True

    def feed(self, chunks: Iterable[bytes]) -> "Cut":
        """Feed `chunks` up to where the connection would close."""
        early: bytearray | None = None
        for chunk in chunks:
            if early is not None:
                early += chunk
            elif self.open:
                early = self._parse(chunk)
        if early is not None and self.open:
            self.said.append(("early", bytes(early)))
        return self

    def _parse(self, chunk: bytes) -> bytearray | None:
        try:
            behind = self.parser.feed(memoryview(chunk))
        except Refusal as refusal:
            self._say(type(refusal))
            self.open = False
            return None
        return None if behind is None else bytearray(chunk[behind:])

    def _say(self, what: object) -> None:
        if self.open:
            self.said.append(what)

    def request_began(self) -> None:
        self._say("began")

    def head_received(self, head: RequestHead) -> None:
        try:
            version_1_1 = is_version_1_1(self.parser.version)
            admitted = self.admission.admit(head, version_1_1=version_1_1, server_name=None)
        except Refusal as refusal:
            self._say(type(refusal))
            self.open = self.open and not refusal.close
            return
        check_carried(admitted.head)
        self._say(
            (
                admitted.cluster,
                admitted.head,
                admitted.body_length,
                admitted.upgrade,
                admitted.expects_continue,
            )
        )

    def body_received(self, body: bytes) -> None:
        last = self.said[-1] if self.said else None
        if isinstance(last, bytes) and self.open:
            self.said[-1] = last + body
        else:
            self._say(body)

    def request_completed(self) -> None:
        self._say("completed")


def check_carried(head: RequestHead) -> None:
    """What travels on says nothing that is the tunnel's own to say, and is one request to whoever reads it next."""
    for name, _ in head.fields:
        folded = name.lower().replace(b"_", b"-")
        assert folded not in TOLD_BY_US, name
        assert folded not in (b"authorization", b"cookie", b"forwarded", b"x-real-ip"), name
        assert not folded.startswith((b"impersonate", b"x-remote-", b"x-forwarded-")), name
    read = Reread()
    parser = httptools.HttpRequestParser(read)
    parser.feed_data(render_request(head.method, head.target, b"Host: a\r\n", field_lines(head.fields)))
    assert read.targets == [head.target]
    assert read.completed == 1
    assert read.fields[1:] == [(name, value) for name, value in head.fields]


class Reread:
    """What a parser of somebody else makes of a request."""

    def __init__(self) -> None:
        self.targets: list[bytes] = []
        self.fields: list[tuple[bytes, bytes]] = []
        self.completed = 0

    def on_url(self, url: bytes) -> None:
        self.targets.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_message_complete(self) -> None:
        self.completed += 1


def one_input(data: bytes) -> None:
    """Invariants: the same requests whole, byte by byte and in pieces; nothing but Refusal is raised; what is admitted names no
    identity, and is exactly one request once it is written again."""
    material = Material(data)
    size, stream = material.byte() + 1, material.rest()
    by_byte = Cut().feed(cut(stream, 1))
    assert by_byte.said == Cut().feed(cut(stream, size)).said
    assert by_byte.said == Cut().feed([stream] if stream else []).said
