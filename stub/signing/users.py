"""Certificates for users: for the one before, as long as a sign-in may last, or for an id-token of the organisation's issuer."""

import time
from dataclasses import dataclass
from datetime import timedelta

from certs.csr import RequestRefused, read_request
from certs.errors import NameDenied, PeerRefused
from certs.issue import sign_user
from certs.lifetime import Lifetime, duration_text, utc_now
from certs.peer import PeerCertificate, user_names
from certs.signed import Issued, issued
from certs.signer import OwnAuthority, Signer
from certs.standing import Standing
from stub.signing.call import SigningCall
from stub.signing.oidc import Issuer
from tunnel.core.errors import BadRequest, Forbidden, NotFound, Unauthorized
from tunnel.core.identity import Identity, check_identity


@dataclass(frozen=True, slots=True)
class LoginRules:
    """What the operator decided.

    Attributes:
        life: of a certificate.
        longest: how long behind its first certificate a user may renew it without signing in anew.
        allow_users, allow_groups: names beginning with `system:` that a certificate may carry over.
    """

    life: timedelta
    longest: timedelta
    allow_users: frozenset[str] = frozenset()
    allow_groups: frozenset[str] = frozenset()


class UserCertificates:
    """See the module.

    Args:
        signer: user-ca.
        own: the authority of the stub's own certificate.
        standing: which certificates stand, and whose they are.
        rules: what the operator decided.
        issuer: whose id-tokens are taken; None where none are.
    """

    def __init__(
        self,
        signer: Signer,
        own: OwnAuthority,
        standing: Standing,
        rules: LoginRules,
        issuer: Issuer | None,
    ) -> None:
        self._signer = signer
        self._own = own
        self._standing = standing
        self._rules = rules
        self._issuer = issuer

    async def login(self, call: SigningCall) -> Issued:
        """Issue a short-lived certificate.

        Raises:
            Refusal: who asks has not proved who it is, or may not be let in.
            CertificateProblem: the stub's own files are not good.
        """
        texts = call.texts("request")
        id_token = texts.get("idToken")
        if id_token is not None:
            call.event.method = "oidc"
            # Until now alone: the next certificate wants another token, so that who has left the directory is out.
            identity, until = await self._by_token(call, id_token), time.time()
        else:
            call.event.method = "certificate"
            identity, until = self._by_certificate(call)
        return self._sign(texts["request"], identity, until)

    async def _by_token(self, call: SigningCall, id_token: str) -> Identity:
        if self._issuer is None:
            raise NotFound("this stub takes no id-tokens: it has no --oidc-issuer")
        identity = await self._issuer.identity(id_token)
        call.event.user, call.event.groups = identity.user, identity.groups
        # No exceptions here: whoever fills in a directory must not be able to make a part of the cluster.
        check_identity(identity)
        return identity

    def _by_certificate(self, call: SigningCall) -> tuple[Identity, float]:
        if call.certificate is None:
            raise Unauthorized("to sign in, show a user certificate or send an id-token")
        try:
            peer = self._standing.read(call.certificate)
            identity = Identity(*user_names(peer))
        except PeerRefused as refused:
            raise Forbidden(str(refused)) from None
        call.event.user, call.event.groups = identity.user, identity.groups
        problem = self._standing.problem(peer)
        if problem is not None:
            raise Unauthorized(problem)
        if not self._standing.peers.is_own(peer):
            raise Forbidden("only certificates of this stub's own user-ca can renew themselves")
        until = self._renewable_until(peer)
        if time.time() > until:
            raise Unauthorized(_too_late(time.time() - until))
        check_identity(identity, allow_users=self._rules.allow_users, allow_groups=self._rules.allow_groups)
        return identity, until

    def _renewable_until(self, peer: PeerCertificate) -> float:
        until = peer.renewable_until
        if until is None:
            # Else whoever holds a kubeconfig for an hour would make a month of it.
            raise Forbidden(
                "the client certificate was not made for signing in: only those of `cluster-tunnel kubeconfig --login` "
                "renew themselves"
            )
        # The first one says more than the stub allows; from the second on what it says is the sooner.
        return min(until, peer.issued + self._rules.longest.total_seconds())

    def _sign(self, request: str, identity: Identity, until: float) -> Issued:
        authority, own = self._signer.authority(), self._own.pem()
        if authority is None or own is None:
            missing = "user-ca.key" if authority is None else "server-ca.crt"
            raise NotFound(f"this stub signs nobody in: its --ca-dir has no {missing}")
        try:
            key = read_request(request.encode())
            floor = self._standing.denied.current().issued_until("user", identity.user)
            lifetime = Lifetime.starting(utc_now(), self._rules.life).behind(floor)
            user, groups = identity.user, identity.groups
            certificate = sign_user(authority, user, groups, key, lifetime, renewable_until=until)
        except RequestRefused as refused:
            raise BadRequest(str(refused)) from None
        except (NameDenied, ValueError) as refused:
            raise Forbidden(f"no certificate can be made for this user: {refused}") from None
        return issued(certificate, own)


def _too_late(seconds: float) -> str:
    ago = duration_text(timedelta(seconds=seconds))
    return f"the certificate could renew itself until {ago} ago; sign in anew, or ask for a new kubeconfig"
