import httptools
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.http.strategies import names, values
from tunnel.core.http.message import Field
from tunnel.core.http.render import CONTINUE, field_lines, render_request, render_response

# llhttp acts on these instead of handing them over alone.
plain_names = names.filter(
    lambda name: name.lower() not in (b"connection", b"content-length", b"transfer-encoding", b"upgrade")
)
plain_fields = st.lists(st.tuples(plain_names, values), max_size=12)


class Recorder:
    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.target = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_message_complete(self) -> None:
        self.complete = True


@given(st.sampled_from([b"GET", b"POST", b"DELETE"]), plain_fields)
def test_a_rendered_request_is_parsed_as_the_same(method: bytes, fields: list[Field]) -> None:
    recorder = Recorder()
    parser = httptools.HttpRequestParser(recorder)
    target = b"/api/v1/x%2Fy//z;p/%e4?b=2&a=1"
    parser.feed_data(render_request(method, target, field_lines(fields)))
    assert (parser.get_method(), recorder.target, recorder.fields) == (method, target, fields)
    assert recorder.complete


@given(st.sampled_from([200, 404, 418, 599, 503]), plain_fields)
def test_a_rendered_response_is_parsed_as_the_same(status: int, fields: list[Field]) -> None:
    recorder = Recorder()
    parser = httptools.HttpResponseParser(recorder)
    parser.feed_data(render_response(status, field_lines(fields), b"Content-Length: 0\r\n"))
    assert parser.get_status_code() == status
    assert recorder.fields == [*fields, (b"Content-Length", b"0")]
    assert recorder.complete


def test_heads_look_as_the_standard_writes_them() -> None:
    fields: list[Field] = [(b"Host", b"a"), (b"x-B", b"c")]
    assert render_request(b"GET", b"/", field_lines(fields)) == b"GET / HTTP/1.1\r\nHost: a\r\nx-B: c\r\n\r\n"
    assert render_request(b"GET", b"/?") == b"GET /? HTTP/1.1\r\n\r\n"
    assert render_response(200, field_lines(fields)) == b"HTTP/1.1 200 OK\r\nHost: a\r\nx-B: c\r\n\r\n"
    assert render_response(101) == b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    assert render_response(599) == b"HTTP/1.1 599 \r\n\r\n"
    assert render_response(100) == CONTINUE
