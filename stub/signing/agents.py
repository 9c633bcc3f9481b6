"""Certificates for agents: the first for a join token, each further one for the one before."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from certs.csr import RequestRefused, key_fingerprint, read_request
from certs.errors import NameDenied, PeerRefused
from certs.issue import sign_agent
from certs.lifetime import Lifetime, utc_now
from certs.names import check_uid
from certs.peer import PeerCertificate, agent_cluster
from certs.signed import Issued, issued
from certs.signer import OwnAuthority, Signer
from certs.standing import Standing
from certs.tokenfile import OtherCluster, TokenFile, TokenRefused
from certs.tokens import parse_token
from stub.signing.call import SigningCall
from tunnel.core.errors import BadRequest, Forbidden, NotFound, Unauthorized


class AgentCertificates:
    """See the module.

    Args:
        signer: agent-ca.
        own: the authority of the stub's own certificate.
        tokens: the join tokens.
        standing: which certificates stand, and whose they are.
        life: of a certificate.
    """

    def __init__(
        self,
        signer: Signer,
        own: OwnAuthority,
        tokens: TokenFile,
        standing: Standing,
        life: timedelta,
    ) -> None:
        self._signer = signer
        self._own = own
        self._tokens = tokens
        self._standing = standing
        self._life = life

    async def join(self, call: SigningCall) -> Issued:
        """Issue an agent's first certificate for a join token.

        Raises:
            Refusal: the token, the request or the cluster is not good.
            CertificateProblem: the stub's own files are not.
        """
        texts = call.texts("token", "request", "clusterUid")
        try:
            token = parse_token(texts["token"])
        except ValueError as error:
            raise BadRequest(str(error)) from None
        call.event.token_id = token.id
        now, uid = utc_now(), _uid(call, texts)
        sign, key = self._signing(call, texts["request"], uid, now)
        try:
            # The folder's lock may be held by another process, and a file reaches the disk before this returns.
            return await asyncio.to_thread(self._tokens.redeem, token, key, uid, now, sign)
        except OtherCluster as refused:
            raise Forbidden(str(refused)) from None
        except TokenRefused as refused:
            raise Unauthorized(str(refused)) from None
        except NameDenied as denied:
            raise Forbidden(str(denied)) from None

    async def renew(self, call: SigningCall) -> Issued:
        """Issue a certificate for the same cluster as the one that the connection shows.

        Raises:
            Refusal: that one does not stand, or its agent is now in another cluster.
            CertificateProblem: the stub's own files are not good.
        """
        peer, cluster = self._agent(call)
        texts = call.texts("request", "clusterUid")
        now, uid = utc_now(), _uid(call, texts)
        if peer.cluster_uid not in (None, uid):
            raise Forbidden(
                f"the agent certificate was made for the cluster with the UID {peer.cluster_uid}, and the agent is in {uid}"
            )
        sign, _ = self._signing(call, texts["request"], uid, now)
        try:
            await asyncio.to_thread(self._tokens.check_uid, cluster, uid, now)
            return sign(cluster)
        except (OtherCluster, NameDenied) as refused:
            raise Forbidden(str(refused)) from None

    def _agent(self, call: SigningCall) -> tuple[PeerCertificate, str]:
        if call.certificate is None:
            raise Unauthorized("an agent certificate is needed to renew it")
        try:
            peer = self._standing.read(call.certificate)
            cluster = agent_cluster(peer)
        except PeerRefused as refused:
            raise Forbidden(str(refused)) from None
        call.event.cluster = cluster
        problem = self._standing.problem(peer)
        if problem is not None:
            raise Unauthorized(problem)
        return peer, cluster

    def _signing(
        self, call: SigningCall, request: str, uid: str, now: datetime
    ) -> tuple[Callable[[str], Issued], str]:
        """Return what makes a certificate for a cluster, with all that it needs read already: it may run in a thread."""
        authority, own = self._signer.authority(), self._own.pem()
        if authority is None or own is None:
            missing = "agent-ca.key" if authority is None else "server-ca.crt"
            raise NotFound(f"this stub does not enrol agents: its --ca-dir has no {missing}")
        try:
            key = read_request(request.encode())
        except RequestRefused as refused:
            raise BadRequest(str(refused)) from None
        denials = self._standing.denied.current()

        def sign(cluster: str) -> Issued:
            call.event.cluster = cluster
            lifetime = Lifetime.starting(now, self._life).behind(denials.issued_until("agent", cluster))
            return issued(sign_agent(authority, cluster, uid, key, lifetime), own)

        return sign, key_fingerprint(key)


def _uid(call: SigningCall, texts: dict[str, str]) -> str:
    try:
        call.event.cluster_uid = check_uid(texts["clusterUid"])
    except ValueError as error:
        raise BadRequest(str(error)) from None
    return call.event.cluster_uid
