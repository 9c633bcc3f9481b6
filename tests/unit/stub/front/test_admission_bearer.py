"""A client's own bearer token: dropped, unless the access rules let it travel to its cluster."""

from pathlib import Path
from typing import Any

import pytest

from stub.front.admission import Admission, AdmissionRules, Admitted, Caller
from stub.slots import SlotBoard
from tests.unit.fakes import USER_TLS
from tests.unit.stub.front.test_admission import facts
from tests.unit.stub.parts import peers
from tunnel.core.errors import Forbidden, Unauthorized
from tunnel.core.http.message import Field, RequestHead
from tunnel.core.identifiers import ClusterId
from tunnel.core.identity import Identity
from tunnel.core.policy.access import AccessDecisions, parse_access
from tunnel.core.wire.exchange import caller_pairs
from tunnel.kit.document import RulesFile

TOKEN: Field = (b"Authorization", b"Bearer s3cr3t")
HOST: Field = (b"Host", b"10.0.0.1")
ACCEPT: Field = (b"Accept", b"*/*")
SPDY: list[Field] = [(b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1")]
HIDDEN = b"base64url.bearer.authorization.k8s.io.dG9rZW4"
WEBSOCKET: list[Field] = [
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
    (b"Sec-WebSocket-Protocol", HIDDEN + b", v5.channel.k8s.io"),
]
OPEN = "default: allow\nclusters: {legacy: {default: allow, bearer: forward}}"


class Rules:
    """An access file that can be written again."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.write(text)
        self.file = RulesFile(
            path, lambda document: AccessDecisions(parse_access(document)), "--access", interval_seconds=0.0
        )

    def write(self, text: str) -> None:
        self.path.write_text(text)


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return Rules(tmp_path / "access.yaml", OPEN)


@pytest.fixture
def admission(rules: Rules) -> Admission:
    return Admission(AdmissionRules(), peers(), rules.file)


def admit(admission: Admission, cluster: str, *fields: Field, method: bytes = b"GET") -> Admitted:
    head = RequestHead(method, b"/clusters/%b/api" % cluster.encode(), [HOST, ACCEPT, *fields])
    return admission.admit(head, version_1_1=True, server_name=None)


def nobody(admission: Admission) -> Caller:
    """Somebody without a certificate."""
    return admission.authenticate(facts(None), "192.0.2.1")


# Where it travels --------------------------------------------------------------------------------


@pytest.mark.parametrize("upgrade", [[], SPDY])
@pytest.mark.parametrize("times", [1, 2])
def test_it_travels_where_the_rules_say_so_and_nowhere_else(
    admission: Admission, upgrade: list[Field], times: int
) -> None:
    """The same shape of head, for both kinds of cluster in turns."""
    for _ in range(times):
        kept = admit(admission, "legacy", TOKEN, *upgrade)
        dropped = admit(admission, "blue", TOKEN, *upgrade)
        assert (kept.bearer, kept.head.fields) == (True, [ACCEPT, TOKEN])
        assert (dropped.bearer, dropped.head.fields) == (False, [ACCEPT])


def test_among_the_subprotocols_of_a_websocket_it_is_treated_alike(admission: Admission) -> None:
    kept, dropped = (admit(admission, cluster, *WEBSOCKET) for cluster in ("legacy", "blue"))
    protocols = [
        [value for name, value in each.head.fields if name == b"Sec-WebSocket-Protocol"]
        for each in (kept, dropped)
    ]
    assert protocols == [[HIDDEN + b", v5.channel.k8s.io"], [b"v5.channel.k8s.io"]]
    assert (kept.bearer, dropped.bearer) == (True, False)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Authorization", b"Basic YTpi")],
        [(b"Authorization", b"Negotiate abc")],
        [(b"Authorization", b"Basic YTpi"), *WEBSOCKET],
        [TOKEN, (b"Connection", b"Authorization")],
        [(b"Proxy-Authorization", b"Bearer s3cr3t")],
        [(b"Authorization", b"Bearer  s3cr3t")],
        [(b"Sec-WebSocket-Protocol", HIDDEN)],
        [(b"Sec-WebSocket-Protocol", HIDDEN), *SPDY],
    ],
)
def test_nothing_but_a_bearer_token_travels(admission: Admission, fields: list[Field]) -> None:
    admitted = admit(admission, "legacy", *fields)
    assert not admitted.bearer
    names = {name.lower() for name, _ in admitted.head.fields}
    assert not names & {b"authorization", b"proxy-authorization"}
    assert HIDDEN not in b"".join(value for _, value in admitted.head.fields)


def test_all_else_is_taken_out_as_ever(admission: Admission) -> None:
    lies = [(b"X-Remote-User", b"root"), (b"Cookie", b"a=1"), (b"X-Forwarded-For", b"10.1.1.1")]
    assert admit(admission, "legacy", TOKEN, *lies).head.fields == [ACCEPT, TOKEN]
    with pytest.raises(Forbidden, match="--as"):
        admit(admission, "legacy", TOKEN, (b"Impersonate-User", b"root"))


def test_for_a_slot_the_cluster_counts_that_it_stands_for(rules: Rules) -> None:
    class Loop:
        def time(self) -> float:
            return 0.0

        def call_at(self, when: float, callback: object) -> Any:
            raise AssertionError

    slots = SlotBoard(
        {ClusterId("front"): [ClusterId("legacy")], ClusterId("legacy-not"): [ClusterId("blue")]},
        0.0,
        Loop(),
        lambda switch: None,
    )
    admission = Admission(AdmissionRules(), peers(), rules.file, slots)
    assert admit(admission, "front", TOKEN).bearer
    assert not admit(admission, "legacy-not", TOKEN).bearer


def test_a_head_with_a_token_is_never_remembered(admission: Admission) -> None:
    head = RequestHead(b"GET", b"/clusters/legacy/api", [HOST, ACCEPT, TOKEN])
    data = b"GET /clusters/legacy/api HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % f for f in head.fields)
    admission.admit(head, version_1_1=True, server_name=None, data=data + b"\r\n")
    assert admission.recognise(data + b"\r\n", None) is None


def test_changed_rules_hold_from_the_next_request_on(admission: Admission, rules: Rules) -> None:
    caller = nobody(admission)
    rules.write("default: allow")
    dropped = admit(admission, "legacy", TOKEN)
    assert not dropped.bearer
    with pytest.raises(Unauthorized):
        admission.authorise(caller, dropped)


def test_without_access_rules_it_is_dropped() -> None:
    assert not admit(Admission(AdmissionRules(), peers()), "legacy", TOKEN).bearer


# Who may come with it ----------------------------------------------------------------------------


def test_whoever_has_no_certificate_has_no_name_here(admission: Admission) -> None:
    caller = nobody(admission)
    assert (caller.identity, caller.peer) == (Identity(""), None)
    assert caller.counted_as == "address 192.0.2.1"
    assert caller_pairs(caller.block) == [(b"address", b"192.0.2.1")]
    admission.check_dates(caller)


def test_without_a_certificate_only_clusters_answer_that_get_the_token(admission: Admission) -> None:
    caller = nobody(admission)
    admission.authorise(caller, admit(admission, "legacy", TOKEN))
    for refused in (admit(admission, "legacy"), admit(admission, "blue", TOKEN)):
        with pytest.raises(Unauthorized, match="client certificate is needed"):
            admission.authorise(caller, refused)


@pytest.mark.parametrize("text", ["default: allow", "clusters: {legacy: {bearer: drop}}"])
def test_where_no_cluster_gets_tokens_a_certificate_is_asked_for_at_once(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unauthorized, match="client certificate is needed"):
        nobody(Admission(AdmissionRules(), peers(), Rules(tmp_path / "a.yaml", text).file))


def test_whoever_shows_a_certificate_is_held_to_the_rules_with_a_token_too(
    admission: Admission, rules: Rules
) -> None:
    rules.write("clusters: {legacy: {bearer: forward}}\nrules: [{users: [bob], clusters: ['*']}]")
    alice = admission.authenticate(USER_TLS, "192.0.2.1")
    with pytest.raises(Forbidden, match="no rule names 'alice'"):
        admission.authorise(alice, admit(admission, "legacy", TOKEN))
