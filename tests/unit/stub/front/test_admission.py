"""What a request must be to be asked, who asks, and for which cluster."""

import time
from dataclasses import replace

import pytest

from certs.peer import PeerCertificate
from stub.front.admission import Admission, AdmissionRules, Admitted
from tests.unit.stub.parts import ALICE, BLUE, peers, with_dates
from tunnel.aio.stream import TlsFacts
from tunnel.core.errors import BadRequest, ExpectationFailed, Forbidden, NotFound, Unauthorized, WrongCluster
from tunnel.core.http.body import CHUNKED
from tunnel.core.http.message import Field, RequestHead
from tunnel.core.http.upgrade import Upgrade
from tunnel.core.identifiers import ClusterId
from tunnel.core.identity import Identity
from tunnel.core.wire.exchange import caller_pairs

HOST: Field = (b"Host", b"stub.example.com")


def admission(known: dict[str, PeerCertificate] | None = None, **rules: object) -> Admission:
    return Admission(AdmissionRules(**rules), peers(**known or {}))  # type: ignore[arg-type]


def facts(certificate: bytes | None = b"alice") -> TlsFacts:
    return TlsFacts("TLSv1.3", "http/1.1", None, certificate)


def admit(
    target: bytes = b"/api",
    *fields: Field,
    host: bytes = b"10.0.0.1",
    sni: str | None = None,
    method: bytes = b"GET",
    version_1_1: bool = True,
    **rules: object,
) -> Admitted:
    """Admit one request."""
    rules = {"domain": "example.com", "default_cluster": BLUE, **rules}
    head = RequestHead(method, target, [(b"Host", host), *fields])
    return admission(**rules).admit(head, version_1_1=version_1_1, server_name=sni)


# Where -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "cluster", "prefix", "target"),
    [
        ({"target": b"/clusters/red/api/v1?x=%2F"}, "red", b"/clusters/red", b"/api/v1?x=%2F"),
        ({"target": b"/clusters/red"}, "red", b"/clusters/red", b"/"),
        ({"host": b"red.example.com:8443"}, "red", b"", b"/api"),
        ({"sni": "red.example.com"}, "red", b"", b"/api"),
        ({"sni": "red.example.com", "host": b"red.example.com", "target": b"/clusters/red/api"}, "red", b"/clusters/red", b"/api"),
        ({"host": b"example.com", "sni": "example.com"}, "blue", b"", b"/api"),
        ({"host": b"red.elsewhere.org", "sni": "red.elsewhere.org"}, "blue", b"", b"/api"),
        ({"host": b"red.example.com", "domain": None}, "blue", b"", b"/api"),
    ],
)  # fmt: skip
def test_the_cluster_is_whichever_of_name_host_and_path_names_one(
    where: dict[str, object], cluster: str, prefix: bytes, target: bytes
) -> None:
    admitted = admit(**where)  # type: ignore[arg-type]
    assert (admitted.cluster, admitted.prefix, admitted.head.target) == (cluster, prefix, target)


@pytest.mark.parametrize(
    "where",
    [
        {"sni": "red.example.com", "host": b"green.example.com"},
        {"sni": "red.example.com", "target": b"/clusters/green/api"},
        {"host": b"red.example.com", "target": b"/clusters/green/api"},
    ],
)
def test_two_different_clusters_are_refused(where: dict[str, object]) -> None:
    with pytest.raises(WrongCluster, match="green, red"):
        admit(**where)  # type: ignore[arg-type]


def test_without_a_default_a_request_must_name_its_cluster() -> None:
    with pytest.raises(NotFound, match="names no cluster"):
        admit(default_cluster=None)


def test_a_host_below_the_domain_that_is_no_cluster_is_refused() -> None:
    with pytest.raises(BadRequest):
        admit(host=b"a.b.example.com")


# Who ---------------------------------------------------------------------------------------------


def test_a_user_is_who_the_certificate_names() -> None:
    caller = admission().authenticate(facts(), "192.0.2.1")
    assert caller.identity == Identity("alice", ("devs", "ops"))
    assert caller_pairs(caller.block) == [
        (b"user", b"alice"),
        (b"group", b"devs"),
        (b"group", b"ops"),
        (b"extra/cluster-tunnel/certificate-sha256", b"fa"),
        (b"address", b"192.0.2.1"),
    ]


def test_an_agent_need_not_be_told_which_certificate_it_was() -> None:
    caller = admission(forward_fingerprint=False).authenticate(facts(), "192.0.2.1")
    assert b"fa" not in [value for _, value in caller_pairs(caller.block)]


@pytest.mark.parametrize("tls", [None, facts(None)])
def test_without_a_certificate_nobody_is_let_in(tls: TlsFacts | None) -> None:
    with pytest.raises(Unauthorized, match="client certificate"):
        admission().authenticate(tls, "192.0.2.1")


def test_an_agents_certificate_is_refused() -> None:
    with pytest.raises(Forbidden, match="agent's certificate"):
        admission().authenticate(facts(b"agent"), "192.0.2.1")


def test_a_certificate_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(Forbidden, match="cannot be parsed"):
        admission().authenticate(facts(b"garbage"), "192.0.2.1")


@pytest.mark.parametrize(
    "peer",
    [
        replace(ALICE, signed_by=None),
        replace(ALICE, for_clients=False),
        replace(ALICE, common_names=()),
        replace(ALICE, common_names=("alice", "root")),
        replace(ALICE, common_names=("system:admin",)),
        replace(ALICE, organizations=("system:masters",)),
        replace(ALICE, organizations=("SYSTEM:nodes",)),
    ],
)
def test_a_certificate_with_unfit_names_is_refused(peer: PeerCertificate) -> None:
    with pytest.raises(Forbidden):
        admission({"alice": peer}).authenticate(facts(), "192.0.2.1")


def test_reserved_names_are_let_in_where_the_operator_lists_them() -> None:
    peer = replace(ALICE, common_names=("system:admin",), organizations=("system:masters",))
    rules = {"allow_users": frozenset({"system:admin"}), "allow_groups": frozenset({"system:masters"})}
    caller = admission({"alice": peer}, **rules).authenticate(facts(), "192.0.2.1")
    assert caller.identity == Identity("system:admin", ("system:masters",))


def test_dates_are_looked_at_for_each_request() -> None:
    checks = admission({"alice": with_dates(ALICE, 0, time.time() + 1000)})
    caller = checks.authenticate(facts(), "192.0.2.1")
    checks.check_dates(caller)
    with pytest.raises(Unauthorized, match="expired"):
        checks.check_dates(replace(caller, peer=with_dates(ALICE, 0, time.time() - 1)))
    with pytest.raises(Unauthorized, match="valid"):
        checks.check_dates(replace(caller, peer=with_dates(ALICE, time.time() + 100, 2e10)))


def test_the_caller_is_no_text_in_a_log() -> None:
    assert "address" not in repr(admission().authenticate(facts(), "192.0.2.1"))


# What --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], 0),
        ([(b"Content-Length", b"12")], 12),
        ([(b"Transfer-Encoding", b"chunked")], CHUNKED),
    ],
)
def test_the_bodys_length_is_known(fields: list[Field], length: int) -> None:
    assert admit(b"/api", *fields, method=b"POST").body_length == length


def test_an_upgrade_and_an_expectation_are_recognised() -> None:
    spdy = admit(b"/api", (b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1"), method=b"POST")
    assert spdy.upgrade is Upgrade.SPDY
    waits = admit(b"/api", (b"Expect", b"100-continue"), (b"Content-Length", b"3"), method=b"PUT")
    assert waits.expects_continue
    assert not admit().expects_continue
    assert admit().upgrade is None


def test_what_must_not_travel_is_taken_out() -> None:
    admitted = admit(
        b"/api",
        (b"Accept", b"*/*"),
        (b"Authorization", b"Bearer secret"),
        (b"Cookie", b"session=1"),
        (b"X-Remote-User", b"root"),
        (b"X-Forwarded-For", b"10.1.1.1"),
        (b"Connection", b"X-Private"),
        (b"X-Private", b"1"),
    )
    assert admitted.head.fields == [(b"Accept", b"*/*")]


def test_cookies_travel_where_the_operator_says_so() -> None:
    assert (b"Cookie", b"a=1") in admit(b"/api", (b"Cookie", b"a=1"), forward_cookies=True).head.fields


@pytest.mark.parametrize("name", [b"Impersonate-User", b"impersonate_group", b"IMPERSONATE-Extra-x"])
def test_impersonation_by_a_client_is_refused_and_never_dropped(name: bytes) -> None:
    with pytest.raises(Forbidden, match="--as"):
        admit(b"/api", (name, b"root"))


def test_repeated_shapes_of_heads_are_judged_alike() -> None:
    """A head whose names were seen before takes a short way."""
    checks = admission(default_cluster=BLUE)
    fields = [HOST, (b"Accept", b"*/*"), (b"Authorization", b"Bearer a")]
    head = RequestHead(b"GET", b"/api", fields)
    both = [checks.admit(head, version_1_1=True, server_name=None) for _ in range(2)]
    assert both[0] == both[1]
    assert both[1].head.fields == [(b"Accept", b"*/*")]


@pytest.mark.parametrize(
    ("refusal", "change"),
    [
        (BadRequest, {"target": b"api"}),
        (BadRequest, {"target": b"/clusters/RED/api"}),
        (BadRequest, {"method": b"G ET"}),
        (ExpectationFailed, {"expect": b"miracles"}),
    ],
)
def test_malformed_requests_are_refused(refusal: type[Exception], change: dict[str, bytes]) -> None:
    expect = change.pop("expect", None)
    target = change.pop("target", b"/api")
    fields = [(b"Expect", expect)] if expect else []
    with pytest.raises(refusal):
        admit(target, *fields, **change)  # type: ignore[arg-type]


def test_two_hosts_are_refused() -> None:
    with pytest.raises(BadRequest, match="Host"):
        admit(b"/api", (b"host", b"other"))


def test_an_http_1_0_request_needs_no_host() -> None:
    head = RequestHead(b"GET", b"/api", [])
    assert (
        admission(default_cluster=ClusterId("red")).admit(head, version_1_1=False, server_name=None).cluster
        == "red"
    )
    with pytest.raises(BadRequest, match="Host"):
        admission(default_cluster=BLUE).admit(head, version_1_1=True, server_name=None)
