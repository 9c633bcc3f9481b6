import json
import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.core.errors import Forbidden, MethodNotAllowed, Refusal, Unavailable, WrongCluster
from tunnel.core.http.body import response_framing
from tunnel.core.http.fields import field_fault, lookup
from tunnel.core.http.render import field_lines, render_response
from tunnel.core.http.status import REQUEST_ID, refusal_response, warning_value

# As apimachinery's ParseWarningHeaders reads it: code, agent, quoted text with \\ and \" as the only escapes.
WARNING = re.compile(r'299 ([^\s"\\]+) "((?:[^"\\]|\\["\\])*)"\Z')


def _all_refusals(root: type[Refusal] = Refusal) -> list[type[Refusal]]:
    return [kind for child in root.__subclasses__() for kind in [child, *_all_refusals(child)]]


@pytest.mark.parametrize("kind", _all_refusals())
def test_every_refusal_is_a_status_that_kubectl_understands(kind: type[Refusal]) -> None:
    head, body = refusal_response(kind("no"), hop="stub", request_id="r1")
    status = json.loads(body)
    assert head.status == kind.code == status["code"]
    assert status.get("reason", "") == kind.reason
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert status["metadata"] == {}
    assert lookup(head.fields, b"content-type") == [b"application/json"]


def test_the_message_names_the_hop_and_the_request() -> None:
    head, body = refusal_response(Forbidden("not alice"), hop="agent", request_id="r1")
    assert json.loads(body)["message"] == "agent: not alice (request r1)"
    assert lookup(head.fields, REQUEST_ID.lower()) == [b"r1"]


def test_the_warning_does_not_differ_between_requests_so_that_kubectl_prints_it_once() -> None:
    heads = [refusal_response(Forbidden("no"), hop="stub", request_id=name)[0] for name in ("r1", "r2")]
    warnings = [lookup(head.fields, b"warning") for head in heads]
    assert warnings == [[b'299 stub "stub: no"']] * 2


def test_retry_after_is_told_only_where_it_is_set() -> None:
    head, body = refusal_response(Unavailable("soon", retry_after=1), hop="stub", request_id="r")
    assert lookup(head.fields, b"retry-after") == [b"1"]
    assert json.loads(body)["details"] == {"retryAfterSeconds": 1}
    head, body = refusal_response(Unavailable("never"), hop="stub", request_id="r")
    assert lookup(head.fields, b"retry-after") == []
    assert "details" not in json.loads(body)


def test_a_wrong_cluster_has_no_reason_so_that_client_go_does_not_retry() -> None:
    assert "reason" not in json.loads(refusal_response(WrongCluster("no"), hop="stub", request_id="r")[1])


def test_a_refused_method_is_told_which_are_allowed() -> None:
    head, _ = refusal_response(MethodNotAllowed("no"), hop="stub", request_id="r")
    assert b"PATCH" in lookup(head.fields, b"allow")[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('a "b" \\c', b'299 stub "a \\"b\\" \\\\c"'),
        ("a\r\nX: y\0z\x85", b'299 stub "a X: y z "'),
        ("Jörg", '299 stub "Jörg"'.encode()),
        ("x" * 5000, b'299 stub "' + b"x" * 1024 + b'"'),
        ("\ud800", b'299 stub "?"'),
    ],
)
def test_a_warning_is_quoted(text: str, value: bytes) -> None:
    assert warning_value("stub", text) == value


@given(st.text(st.characters(), max_size=200), st.text(max_size=10))
def test_a_warning_can_always_be_parsed(text: str, hop: str) -> None:
    value = warning_value(hop, text)
    match = WARNING.match(value.decode())
    assert match is not None
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", match[2])
    assert field_fault([(b"Warning", value)]) is None


@given(st.text(st.characters(), max_size=50), st.text(max_size=10))
def test_a_refusal_is_a_well_formed_response_whatever_it_says(message: str, request_id: str) -> None:
    head, body = refusal_response(Unavailable(message), hop="stub", request_id=request_id)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.receive_data(
        render_response(head.status, field_lines([*head.fields, *response_framing(len(body))])) + body
    )
    response, data = client.next_event(), client.next_event()
    assert isinstance(response, h11.Response)
    assert isinstance(data, h11.Data)
    assert json.loads(bytes(data.data))["code"] == response.status_code == 503
