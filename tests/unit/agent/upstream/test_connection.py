"""HTTP/1.1 with the apiserver, answer by answer."""

import pytest

from agent.upstream.connection import UpstreamConnection
from agent.upstream.known import KnownAnswers
from tests.unit.fakes import FakeStream
from tunnel.aio.sockets import UPSTREAM_LEG, UPSTREAM_PATIENT_LEG
from tunnel.core import limits
from tunnel.core.http.body import CHUNKED, NONE, UNTIL_CLOSE
from tunnel.core.http.message import ResponseHead

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"


class Responding:
    """A responder that remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.views = 0

    def upstream_head(self, head: ResponseHead, length: int) -> None:
        self.heard.append((head.status, length))

    def upstream_data(self, data: bytes | memoryview) -> None:
        self.views += isinstance(data, memoryview)
        self.heard.append(bytes(data))

    def upstream_end(self) -> None:
        self.heard.append("end")

    def upstream_switched(self, head: ResponseHead, early: memoryview) -> None:
        self.heard.append((head.status, bytes(early)))

    def upstream_lost(self, reason: str, *, answered: bool, reused: bool) -> None:
        self.heard.append(("lost", answered, reused))

    def upstream_write_paused(self) -> None:
        self.heard.append("paused")

    def upstream_write_resumed(self) -> None:
        self.heard.append("resumed")

    @property
    def body(self) -> bytes:
        return b"".join(each for each in self.heard if isinstance(each, bytes))


class Upstream:
    """A connection, and the pool that it comes back to."""

    def __init__(self, known: KnownAnswers | None = None) -> None:
        self.free = self.gone = 0
        self.connection = UpstreamConnection(self, known or KnownAnswers())
        self.stream = FakeStream()
        self.stream.open(self.connection)

    def connection_free(self, connection: UpstreamConnection) -> None:
        self.free += 1

    def connection_gone(self, connection: UpstreamConnection) -> None:
        self.gone += 1

    def ask(self, method: bytes = b"GET", *, whole: bool = True) -> Responding:
        responder = Responding()
        self.connection.begin(responder, method, method + b" / HTTP/1.1\r\n\r\n", whole=whole)
        return responder


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


# Bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "answer", "heard"),
    [
        (b"GET", OK, [(200, 4), b"body", "end"]),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [(200, 0), "end"]),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", [(200, NONE), "end"]),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", [(200, NONE), "end"]),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", [(204, NONE), "end"]),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", [(304, NONE), "end"]),
        (
            b"GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
            [(200, CHUNKED), b"one", b"two", "end"],
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_every_kind_of_body_is_read_however_it_is_cut(
    upstream: Upstream, method: bytes, answer: bytes, heard: list[object], size: int
) -> None:
    responder = upstream.ask(method)
    for start in range(0, len(answer), size):
        upstream.stream.receive(answer[start : start + size])
    assert responder.heard[0] == heard[0]
    assert responder.body == b"".join(each for each in heard if isinstance(each, bytes))
    assert responder.heard[-1] == "end"
    assert responder.heard.count("end") == 1
    assert (upstream.free, upstream.gone) == (1, 0)


def test_a_counted_body_is_passed_on_as_the_views_it_came_in(upstream: Upstream) -> None:
    responder = upstream.ask()
    upstream.stream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01")
    upstream.stream.receive(b"2345")
    upstream.stream.receive(b"6789")
    assert responder.body == b"0123456789"
    assert responder.views == 2


def test_bytes_behind_a_counted_body_are_nobodys_and_spoil_the_connection(upstream: Upstream) -> None:
    responder = upstream.ask()
    upstream.stream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01")
    upstream.stream.receive(b"23456789" + OK)
    assert responder.body == b"0123456789"
    assert responder.heard[-1] == "end"
    assert (upstream.free, upstream.gone) == (0, 1)


def test_a_body_until_the_close_ends_there_and_nowhere_else(upstream: Upstream) -> None:
    responder = upstream.ask()
    upstream.stream.receive(b"HTTP/1.1 200 OK\r\n\r\nsome")
    upstream.stream.receive(b" more")
    assert responder.heard == [(200, UNTIL_CLOSE), b"some", b" more"]
    upstream.stream.receive_end()
    assert responder.heard[-1] == "end"
    assert (upstream.free, upstream.gone) == (0, 1)
    assert upstream.stream.closed


def test_a_cut_is_no_end_of_a_body_until_the_close(upstream: Upstream) -> None:
    responder = upstream.ask()
    upstream.stream.receive(b"HTTP/1.1 200 OK\r\n\r\nsome")
    upstream.stream.lose(ConnectionResetError("reset"))
    assert responder.heard[-1] == ("lost", True, False)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
    ],
)
def test_an_end_in_the_middle_of_an_answer_is_a_loss(upstream: Upstream, answer: bytes) -> None:
    responder = upstream.ask()
    upstream.stream.receive(answer)
    upstream.stream.receive_end()
    assert responder.heard[-1] == ("lost", True, False)
    assert upstream.stream.aborted


def test_trailers_are_dropped(upstream: Upstream) -> None:
    responder = upstream.ask()
    upstream.stream.receive(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nSet-Cookie: a=1\r\n\r\n"
    )
    assert responder.heard == [(200, CHUNKED), b"ab", "end"]


# Interim answers and upgrades --------------------------------------------------------------------


def test_interim_answers_are_swallowed_with_their_fields(upstream: Upstream) -> None:
    heads = []
    responder = upstream.ask()
    responder.upstream_head = lambda head, length: heads.append(head)  # type: ignore[method-assign]
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    upstream.stream.receive(interim + b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n")
    (head,) = heads
    assert head.fields == [(b"X-A", b"1"), (b"Content-Length", b"0")]
    assert upstream.free == 1


def test_interim_answers_without_end_are_too_much(upstream: Upstream) -> None:
    responder = upstream.ask()
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 1000
    for _ in range(1 + limits.RESPONSE_HEAD_BYTES // len(interim)):
        upstream.stream.receive(interim)
    upstream.stream.receive(b"HTTP/1.1 103 Ea")
    assert responder.heard == [("lost", True, False)]
    assert upstream.stream.aborted


def test_a_101_hands_the_connection_over_with_what_came_behind_it(upstream: Upstream) -> None:
    responder = upstream.ask(b"POST")
    upstream.stream.receive(UPGRADED + b"\x80\x03early")
    assert responder.heard == [(101, b"\x80\x03early")]
    assert upstream.free == 0
    assert upstream.gone == 0
    upstream.connection.pipe_closed()
    assert upstream.gone == 1


def test_a_101_in_pieces_is_one(upstream: Upstream) -> None:
    responder = upstream.ask(b"POST")
    for byte in UPGRADED:
        upstream.stream.receive(bytes([byte]))
    assert responder.heard == [(101, b"")]


# Keeping the connection --------------------------------------------------------------------------


def test_a_connection_serves_one_request_behind_another(upstream: Upstream) -> None:
    for _ in range(3):
        responder = upstream.ask()
        upstream.stream.receive(OK)
        assert responder.heard[-1] == "end"
    assert (upstream.free, upstream.gone) == (3, 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK + OK,
        OK + b"x",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK,
        b"HTTP/1.1 204 No Content\r\n\r\n" + OK,
    ],
)
def test_a_connection_that_ends_or_is_out_of_step_is_not_kept(upstream: Upstream, answer: bytes) -> None:
    responder = upstream.ask()
    upstream.stream.receive(answer)
    assert responder.heard[-1] == "end"
    assert sum(isinstance(each, tuple) for each in responder.heard) == 1
    assert (upstream.free, upstream.gone) == (0, 1)
    assert upstream.stream.closed


@pytest.mark.parametrize("before", [OK, b"HTTP/1.1 204 No Content\r\n\r\n"])
def test_a_101_behind_an_answer_belongs_to_nobody_however_it_is_cut(before: bytes) -> None:
    heard = []
    for pieces in (
        [before + UPGRADED + b"early"],
        [before, UPGRADED],
        [before + UPGRADED[:20], UPGRADED[20:]],
    ):
        upstream = Upstream()
        responder = upstream.ask()
        for piece in pieces:
            if not upstream.stream.closing:
                upstream.stream.receive(piece)
        heard.append(responder.heard)
        assert upstream.gone
    assert heard[0][-1] == "end"
    assert heard == [heard[0]] * 3


def test_a_body_to_a_head_is_out_of_step(upstream: Upstream) -> None:
    responder = upstream.ask(b"HEAD")
    upstream.stream.receive(OK)
    assert responder.heard == [(200, NONE), "end"]
    assert upstream.free == 0


def test_an_answer_before_the_request_is_whole_spoils_the_connection(upstream: Upstream) -> None:
    upstream.ask(b"POST", whole=False)
    upstream.stream.receive(OK)
    assert (upstream.free, upstream.gone) == (0, 1)


def test_an_answer_behind_a_whole_upload_does_not(upstream: Upstream) -> None:
    upstream.ask(b"POST", whole=False)
    upstream.connection.request_ended()
    upstream.stream.receive(OK)
    assert upstream.free == 1


def test_a_connection_whose_last_request_is_not_taken_yet_is_not_kept(upstream: Upstream) -> None:
    upstream.ask(b"POST")
    upstream.stream.pause_writing()
    upstream.stream.receive(OK)
    assert upstream.free == 0


def test_bytes_on_an_idle_connection_break_it_off(upstream: Upstream) -> None:
    upstream.ask()
    upstream.stream.receive(OK)
    upstream.stream.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert upstream.stream.aborted
    assert upstream.gone == 1


def test_an_idle_connection_that_closes_is_gone(upstream: Upstream) -> None:
    upstream.ask()
    upstream.stream.receive(OK)
    upstream.stream.receive_end()
    assert upstream.gone == 1


# Trouble -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
    ],
)
def test_garbage_breaks_the_connection_off(upstream: Upstream, answer: bytes) -> None:
    responder = upstream.ask()
    upstream.stream.receive(answer)
    assert responder.heard[-1] == ("lost", True, False)
    assert upstream.stream.aborted
    assert upstream.gone == 1


def test_a_head_above_the_limit_breaks_the_connection_off(upstream: Upstream) -> None:
    responder = upstream.ask()
    upstream.stream.receive(b"HTTP/1.1 200 OK\r\nX: " + bytes(b"x" * limits.RESPONSE_HEAD_BYTES))
    assert responder.heard == [("lost", True, False)]


def test_a_loss_says_whether_the_connection_was_used_before_and_an_answer_had_begun(
    upstream: Upstream,
) -> None:
    upstream.ask()
    upstream.stream.receive(OK)
    responder = upstream.ask()
    upstream.stream.receive_end()
    assert responder.heard == [("lost", False, True)]


def test_behind_an_abort_the_responder_hears_nothing(upstream: Upstream) -> None:
    responder = upstream.ask()
    upstream.stream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    upstream.connection.abort()
    upstream.stream.lose()
    assert responder.heard == [(200, 4)]
    assert upstream.stream.aborted


def test_pressure_reaches_whoever_sends(upstream: Upstream) -> None:
    responder = upstream.ask(b"POST", whole=False)
    upstream.stream.pause_writing()
    upstream.stream.resume_writing()
    assert responder.heard == ["paused", "resumed"]


# A path that died ----------------------------------------------------------------------------------


def test_only_what_may_be_left_unread_is_spared_the_limit_for_dead_paths(upstream: Upstream) -> None:
    upstream.ask(whole=True)
    upstream.stream.receive(OK)
    assert upstream.stream.options is None  # as it was dialled
    upstream.ask(b"POST", whole=False)
    assert upstream.stream.options is UPSTREAM_PATIENT_LEG
    upstream.connection.request_ended()
    upstream.stream.receive(OK)
    assert upstream.stream.options is UPSTREAM_LEG


def test_a_pipe_is_spared_the_limit_for_dead_paths(upstream: Upstream) -> None:
    upstream.ask(b"POST")
    upstream.stream.receive(UPGRADED)
    assert upstream.stream.options is UPSTREAM_PATIENT_LEG
