"""From a request's raw head to what an agent may be asked, or a refusal: every check the stub makes before it asks.

The order is the apiserver's own: form, then who, then where. Nothing here has a side effect.
"""

import time
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from certs.errors import PeerRefused
from certs.peer import PeerCertificate, PeerReader, user_names
from certs.signed import ROOT
from certs.standing import Standing
from stub.front.known import KnownHeads
from stub.slots import SlotBoard
from tunnel.aio.stream import TlsFacts
from tunnel.core import extras
from tunnel.core.acting import read_acting, split_acting
from tunnel.core.bearer import carries_bearer
from tunnel.core.errors import Forbidden, NotFound, Refusal, Unauthorized, WrongCluster
from tunnel.core.http.body import expects_continue, request_body
from tunnel.core.http.fields import check_request_fields, lookup, sanitise_request
from tunnel.core.http.message import Field, RequestHead
from tunnel.core.http.shapes import REQUEST_NEVER_TWICE, REQUEST_ONCE, REQUEST_SPECIAL, Shapes
from tunnel.core.http.target import check_method, check_target, host_cluster, split_cluster
from tunnel.core.http.upgrade import Upgrade, requested_upgrade
from tunnel.core.identifiers import ClusterId
from tunnel.core.identity import Identity, check_identity
from tunnel.core.policy.access import AccessDecisions
from tunnel.core.wire.pairs import encode_pairs
from tunnel.kit.document import RulesFile

_CERTIFICATE_NEEDED: Final = (
    "a client certificate is needed; make a kubeconfig with 'cluster-tunnel kubeconfig'"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds a connection, decided once for all its requests; only the certificate's dates are looked at again.

    Attributes:
        identity: from the certificate; without one its user has no name.
        block: the same as a REQUEST carries it, with the client's address.
        peer: the certificate; None for a client who shows none, and whom the cluster tells by a bearer token.
        counted_as: whose share of the stub it uses: the user's, or without a name the address's.
    """

    identity: Identity
    block: bytes = field(repr=False)
    peer: PeerCertificate | None
    counted_as: str


@dataclass(slots=True)
class Admitted:
    """A request that may be asked.

    Attributes:
        cluster: where it goes.
        target: as received.
        prefix: the path prefix that named the cluster, or empty; a Location gains it.
        head: what the agent gets: target without the prefix, sanitised fields.
        body_length: bytes, or CHUNKED.
        upgrade: the upgrade asked for, or None.
        expects_continue: whether the client waits for a 100 before its body.
        hidden: whether the cluster must look as if it did not exist.
        slot: the slot that stands for the cluster, where the request named one.
        bearer: whether the client's own bearer token is in the head.
        acting: whom the client wants to act as, whose fields end the head; None where it asks for itself.
    """

    cluster: ClusterId
    target: bytes
    prefix: bytes
    head: RequestHead
    body_length: int
    upgrade: Upgrade | None
    expects_continue: bool
    hidden: bool = False
    slot: ClusterId | None = None
    bearer: bool = False
    acting: Identity | None = None


class Verdict(NamedTuple):
    """What admission says of a request.

    Attributes:
        caller: who asks; None where nobody could be told from the certificate, and then `refusal` says why.
        admitted: what is asked; None where that could not be told.
        refusal: why it is not carried.
    """

    caller: Caller | None
    admitted: Admitted | None
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """What the operator decided.

    Attributes:
        domain: clusters' hosts are CLUSTER.DOMAIN.
        default_cluster: for requests that name none.
        allow_users, allow_groups: names beginning with `system:` that are let in.
        forward_cookies: whether Cookie and Set-Cookie pass.
        forward_fingerprint: whether agents are told which certificate a user showed.
    """

    domain: str | None = None
    default_cluster: ClusterId | None = None
    allow_users: frozenset[str] = frozenset()
    allow_groups: frozenset[str] = frozenset()
    forward_cookies: bool = False
    forward_fingerprint: bool = True


OWN_TARGETS: Final = ROOT.encode()
"""Targets below this are the stub's own, whatever cluster SNI or Host name."""


class Admission:
    """The stub's checks.

    Args:
        rules: what the operator decided.
        peers: reads certificates.
        access: who may reach which cluster; None where everybody may.
        slots: names that stand for one of several clusters.
        standing: says whether a certificate still stands; without it only the dates count.
    """

    def __init__(
        self,
        rules: AdmissionRules,
        peers: PeerReader,
        access: RulesFile[AccessDecisions] | None = None,
        slots: SlotBoard | None = None,
        standing: Standing | None = None,
    ) -> None:
        self._rules = rules
        self._peers = peers
        self._access = access
        self._slots = slots
        self._standing = standing
        self._shapes = Shapes(self._sanitise, REQUEST_SPECIAL, REQUEST_ONCE, REQUEST_NEVER_TWICE)
        # Judging by names alone, one cannot both keep a token and drop it.
        self._bearer_shapes = Shapes(
            self._sanitise_with_bearer, REQUEST_SPECIAL, REQUEST_ONCE, REQUEST_NEVER_TWICE
        )
        self._heads = KnownHeads()

    @property
    def rules(self) -> AdmissionRules:
        """What the operator decided."""
        return self._rules

    def authenticate(self, tls: TlsFacts | None, address: str) -> Caller:
        """Return who opened a connection.

        Raises:
            Unauthorized: it shows no certificate, and bearer tokens travel to no cluster.
            Forbidden: it is not a user's certificate, or one whose names are not let in.
        """
        if tls is None or tls.certificate is None:
            return self._nobody(address)
        try:
            peer = self._peers.read(tls.certificate)
            _require_user(peer)
            user, groups = user_names(peer)
        except PeerRefused as refused:
            raise Forbidden(str(refused)) from refused
        identity = Identity(user, groups)
        exceptions = self._rules if self._access is None else self._access.current(time.monotonic())
        check_identity(identity, allow_users=exceptions.allow_users, allow_groups=exceptions.allow_groups)
        told = peer.fingerprint if self._rules.forward_fingerprint else ""
        return Caller(identity, _caller_block(identity, address, told), peer, identity.user)

    def _nobody(self, address: str) -> Caller:
        if self._access is None or not self._access.current(time.monotonic()).forwards_some_bearer:
            raise Unauthorized(_CERTIFICATE_NEEDED)
        block = encode_pairs(pairs=[(b"address", address.encode())])
        return Caller(Identity(""), block, None, f"address {address}")

    def check_dates(self, caller: Caller) -> None:
        """Refuse a certificate whose time is over or that was revoked; asked for every request, because connections live long.

        Raises:
            Unauthorized: its dates do not hold now.
        """
        peer = caller.peer
        if peer is None:
            return
        problem = peer.problem_at(time.time()) if self._standing is None else self._standing.problem(peer)
        if problem is not None:
            raise Unauthorized(problem)

    def recognise(self, data: bytes, server_name: str | None) -> Admitted | None:
        """Return what is asked in a read whose like was admitted before; None where it has to be parsed.

        Args:
            data: all that was read, behind the end of the request before.
            server_name: the SNI of the connection.
        """
        known = self._heads.recognise(data)
        if known is None or known.target.startswith(OWN_TARGETS):
            return None
        try:
            cluster, prefix, target = self._route(known.target, known.host, server_name)
        except Refusal:
            return None  # the long way says it
        head = RequestHead(known.method, target, block=known.block)
        cluster, slot = self._resolve(cluster)
        return Admitted(cluster, known.target, prefix, head, 0, None, expects_continue=False, slot=slot)

    def admit(
        self, raw: RequestHead, *, version_1_1: bool, server_name: str | None, data: bytes = b""
    ) -> Admitted:
        """Return what a request asks for.

        Args:
            raw: as received.
            version_1_1: False for HTTP/1.0.
            server_name: the SNI of the connection.
            data: the read in which it came; empty where it came with others or in pieces.

        Raises:
            Refusal: it is malformed, ambiguous, or not carried.
        """
        check_method(raw.method)
        check_target(raw.target)
        fields = self._shapes.quick(raw.fields)
        if fields is not None:
            if data and version_1_1:
                self._heads.learn(data, raw, fields)
            return self._admitted(raw, fields, server_name, 0, None, waits=False)
        check_request_fields(raw.fields, version_1_1=version_1_1)
        body_length = request_body(version_1_1, raw.fields)
        upgrade = requested_upgrade(raw.method, raw.fields)
        waits = expects_continue(version_1_1, raw.fields)
        others, acting = self._apart(raw.fields)
        rest = RequestHead(raw.method, raw.target, others)
        admitted = self._admitted(
            rest, self._sanitise(others), server_name, body_length, upgrade, waits=waits
        )
        if acting:
            admitted.acting = read_acting(acting)
            admitted.head = RequestHead(raw.method, admitted.head.target, admitted.head.fields + acting)
        return admitted

    def authorise(self, caller: Caller, admitted: Admitted) -> None:
        """Apply the access rules to what was admitted; asked for every request, because rules change.

        Raises:
            Unauthorized: the client shows no certificate, and no bearer token that travels to this cluster.
            Forbidden: they do not allow it; the message names the rule.
        """
        if caller.peer is None:
            # Whose token it is, the cluster tells; rules cannot name who is not known here.
            if not admitted.bearer:
                raise Unauthorized(_CERTIFICATE_NEEDED)
            if admitted.acting is not None:
                raise Forbidden(
                    "kubectl --as needs a client certificate: without one nobody here knows who asks"
                )
            return
        if self._access is None:
            return
        decisions = self._access.current(time.monotonic())
        head, upgrade = admitted.head, admitted.upgrade is not None
        decision = decisions.decide(
            caller.identity, admitted.cluster, head.method, head.target, upgrade=upgrade
        )
        if decision.allowed:
            if admitted.acting is not None:
                _check_acting(decisions, caller.identity, admitted, admitted.acting)
            return
        if decisions.rules.hide_clusters and not decision.reaches:
            admitted.hidden = True
        elif decision.reaches:
            raise Forbidden(
                f"the access rules do not allow this in the cluster {admitted.cluster!r}: {decision.reason}"
            )
        else:
            raise Forbidden(
                f"the access rules do not let you reach the cluster {admitted.cluster!r}: {decision.reason}"
            )

    def _apart(self, fields: list[Field]) -> tuple[list[Field], list[Field]]:
        """Return the fields to be sanitised, and those of `kubectl --as` where somebody may use that; else the sanitiser refuses
        them."""
        if self._access is None or not self._access.current(time.monotonic()).lets_some_impersonate:
            return fields, []
        return split_acting(fields)

    def _sanitise(self, fields: list[Field]) -> list[Field]:
        return sanitise_request(fields, forward_cookies=self._rules.forward_cookies)

    def _sanitise_with_bearer(self, fields: list[Field]) -> list[Field]:
        cookies = self._rules.forward_cookies
        return sanitise_request(fields, forward_authorization=True, forward_cookies=cookies)

    def _with_bearer(
        self, fields: list[Field], cluster: ClusterId, upgrade: Upgrade | None
    ) -> list[Field] | None:
        """Return what may travel on where that is more than `_sanitise` leaves: a bearer token, to a cluster that wants it."""
        if self._access is None or not self._access.current(time.monotonic()).forwards_bearer(cluster):
            return None
        kept = self._bearer_shapes.quick(fields)
        if kept is None:
            kept = self._sanitise_with_bearer(fields)
        return kept if carries_bearer(kept, websocket=upgrade is Upgrade.WEBSOCKET) else None

    def _admitted(
        self,
        raw: RequestHead,
        fields: list[Field],
        server_name: str | None,
        body_length: int,
        upgrade: Upgrade | None,
        *,
        waits: bool,
    ) -> Admitted:
        hosts = lookup(raw.fields, b"host")
        cluster, prefix, target = self._route(raw.target, hosts[0] if hosts else None, server_name)
        cluster, slot = self._resolve(cluster)
        more = self._with_bearer(raw.fields, cluster, upgrade)
        head = RequestHead(raw.method, target, fields if more is None else more)
        bearer = more is not None
        return Admitted(
            cluster, raw.target, prefix, head, body_length, upgrade, waits, slot=slot, bearer=bearer
        )

    def _resolve(self, name: ClusterId) -> tuple[ClusterId, ClusterId | None]:
        """Return the cluster that a name stands for, and the name itself where that is a slot."""
        slot = self._slots.get(name) if self._slots is not None else None
        return (name, None) if slot is None else (slot.target, name)

    def _route(
        self, target: bytes, host: bytes | None, server_name: str | None
    ) -> tuple[ClusterId, bytes, bytes]:
        """The cluster is whichever of SNI, Host and path names one; two different ones are refused."""
        by_path, rest = split_cluster(target)
        domain = self._rules.domain
        if domain is None and by_path is None and self._rules.default_cluster is not None:
            return self._rules.default_cluster, b"", rest
        by_host = by_sni = None
        if domain is not None:
            by_host = host_cluster(host, domain) if host is not None else None
            by_sni = host_cluster(server_name.encode(), domain) if server_name else None
        named = {cluster for cluster in (by_path, by_host, by_sni) if cluster is not None}
        if len(named) > 1:
            raise WrongCluster(
                f"SNI, Host and path name different clusters ({', '.join(sorted(named))}); use one of them"
            )
        cluster = named.pop() if named else self._rules.default_cluster
        if cluster is None:
            raise NotFound(
                "the request names no cluster; use /clusters/ID in the kubeconfig's server, or a host of its own "
                "(kubectl get --raw leaves the server's path out)"
            )
        return cluster, b"/clusters/" + by_path.encode() if by_path else b"", rest


def _check_acting(
    decisions: AccessDecisions, identity: Identity, admitted: Admitted, acting: Identity
) -> None:
    """Whether the user may act as that other one is for the cluster to say; here only whether it may be asked at all."""
    head, upgrade = admitted.head, admitted.upgrade is not None
    if not decisions.may_impersonate(identity, admitted.cluster, head.method, head.target, upgrade=upgrade):
        raise Forbidden(
            "kubectl --as is not allowed to you here: no access rule that allows the request has 'impersonate: true'"
        )
    check_identity(acting, allow_users=decisions.allow_users, allow_groups=decisions.allow_groups)


def _require_user(peer: PeerCertificate) -> None:
    if peer.signed_by == "agent-ca":
        raise Forbidden("this is an agent's certificate; users have certificates of their own")


def _caller_block(identity: Identity, address: str, fingerprint: str) -> bytes:
    pairs: list[Field] = [(b"user", identity.user.encode())]
    if identity.uid:
        pairs.append((b"uid", identity.uid.encode()))
    pairs += [(b"group", group.encode()) for group in identity.groups]
    for key, values in identity.extra:
        pairs += [(b"extra/" + key.encode(), value.encode()) for value in values]
    if fingerprint:
        pairs.append((b"extra/" + extras.CERTIFICATE.encode(), fingerprint.encode()))
    pairs.append((b"address", address.encode()))
    return encode_pairs(pairs=pairs)
