"""`kubectl --as` at the stub: refused, unless a rule lets the user ask; and never lost on the way."""

from pathlib import Path

import pytest

from stub.front.admission import Admission, AdmissionRules, Admitted
from tests.unit.fakes import USER_TLS
from tests.unit.stub.front.test_admission_bearer import HOST, SPDY, TOKEN, Rules, admit, nobody
from tests.unit.stub.parts import peers
from tunnel.core.errors import BadRequest, Forbidden
from tunnel.core.http.message import Field, RequestHead
from tunnel.core.identity import Identity

BOB: Field = (b"Impersonate-User", b"bob")
OPS: Field = (b"impersonate-group", b"ops")
LETS_ALICE = """
clusters: {legacy: {bearer: forward}}
rules:
  - {users: [alice], clusters: [blue], verbs: [get], impersonate: true}
  - {users: [alice, bob], clusters: ["*"]}
"""


def admission_with(path: Path, text: str = LETS_ALICE) -> Admission:
    return Admission(AdmissionRules(), peers(), Rules(path / "access.yaml", text).file)


@pytest.fixture
def admission(tmp_path: Path) -> Admission:
    return admission_with(tmp_path)


def ask(admission: Admission, *fields: Field, cluster: str = "blue", method: bytes = b"GET") -> Admitted:
    """Admit a request of alice's, and authorise it."""
    admitted = admit(admission, cluster, *fields, method=method)
    admission.authorise(admission.authenticate(USER_TLS, "192.0.2.1"), admitted)
    return admitted


@pytest.mark.parametrize("upgrade", [[], SPDY])
def test_a_rule_lets_it_travel_behind_all_other_fields(admission: Admission, upgrade: list[Field]) -> None:
    admitted = ask(admission, BOB, (b"X-A", b"1"), OPS, *upgrade)
    assert admitted.acting == Identity("bob", ("ops",))
    assert admitted.head.fields == [(b"Accept", b"*/*"), (b"X-A", b"1"), BOB, OPS]


def test_a_connection_field_cannot_name_it_away(admission: Admission) -> None:
    admitted = ask(
        admission, (b"Connection", b"Impersonate-User, impersonate-group, X-A"), (b"X-A", b"1"), BOB, OPS
    )
    assert admitted.head.fields == [(b"Accept", b"*/*"), BOB, OPS]


@pytest.mark.parametrize(
    ("cluster", "method"),
    [("red", b"GET"), ("blue", b"DELETE")],
    ids=["elsewhere", "more than the rule allows"],
)
def test_without_such_a_rule_it_is_refused(admission: Admission, cluster: str, method: bytes) -> None:
    with pytest.raises(Forbidden, match="impersonate: true"):
        ask(admission, BOB, cluster=cluster, method=method)
    ask(admission, cluster=cluster, method=method)


@pytest.mark.parametrize("text", ["default: allow", "rules: [{users: ['*'], clusters: ['*']}]"])
def test_where_nobody_may_it_is_refused_as_ever(tmp_path: Path, text: str) -> None:
    with pytest.raises(Forbidden, match="leave out --as"):
        admit(admission_with(tmp_path, text), "blue", BOB)


def test_without_access_rules_it_is_refused() -> None:
    with pytest.raises(Forbidden, match="leave out --as"):
        admit(Admission(AdmissionRules(), peers()), "blue", BOB)


@pytest.mark.parametrize(
    "fields", [[OPS], [BOB, BOB], [(b"Impersonate_User", b"bob")], [(b"Impersonate-User", b"")]]
)
def test_half_of_it_is_refused(admission: Admission, fields: list[Field]) -> None:
    with pytest.raises(BadRequest):
        ask(admission, *fields)


@pytest.mark.parametrize(
    "fields", [[(b"Impersonate-User", b"system:admin")], [BOB, (b"Impersonate-Group", b"system:masters")]]
)
def test_names_of_the_clusters_own_parts_are_refused(admission: Admission, fields: list[Field]) -> None:
    with pytest.raises(Forbidden, match="reserved"):
        ask(admission, *fields)


def test_whoever_has_no_certificate_may_not(admission: Admission) -> None:
    admitted = admit(admission, "legacy", TOKEN, BOB)
    assert admitted.bearer
    with pytest.raises(Forbidden, match="client certificate"):
        admission.authorise(nobody(admission), admitted)


def test_a_head_with_it_is_never_remembered(admission: Admission) -> None:
    head = RequestHead(b"GET", b"/clusters/blue/api", [HOST, BOB])
    data = b"GET /clusters/blue/api HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % f for f in head.fields) + b"\r\n"
    for _ in range(2):
        admitted = admission.admit(head, version_1_1=True, server_name=None, data=data)
        assert admitted.acting == Identity("bob")
        assert admission.recognise(data, None) is None
