"""Puts together, from a stub's settings, what judges certificates and what issues them."""

from collections.abc import Sequence
from datetime import timedelta

from certs.contexts import upstream_context
from certs.denied import DenyList
from certs.pem import PemFile
from certs.signer import OwnAuthority, Signer
from certs.standing import Standing
from certs.tokenfile import TokenFile
from certs.trust import Trust
from stub.settings import StubSettings
from stub.signing.agents import AgentCertificates
from stub.signing.attempts import Attempts
from stub.signing.documents import Documents
from stub.signing.endpoints import Handler, SigningEndpoints
from stub.signing.event import Action, SigningLedger
from stub.signing.oidc import Issuer, OidcRules
from stub.signing.users import LoginRules, UserCertificates


def open_standing(settings: StubSettings) -> Standing:
    """Return who is let in by which authority, and whose certificate is denied; both follow their files.

    Raises:
        CertificateProblem: a file cannot be used.
    """
    folder = settings.ca_dir
    trust = Trust(folder / "user-ca.crt", folder / "agent-ca.crt", settings.user_ca)
    return Standing(trust, DenyList(folder))


def open_signing(
    settings: StubSettings, standing: Standing, ledgers: Sequence[SigningLedger] = ()
) -> SigningEndpoints:
    """Return the endpoints that issue certificates. What the folder has no key for is answered 404.

    Raises:
        CertificateProblem: a file cannot be used.
    """
    folder = settings.ca_dir
    own = OwnAuthority(folder)
    agents = AgentCertificates(
        Signer(folder, "agent-ca"), own, TokenFile(folder), standing, timedelta(seconds=settings.agent_ttl)
    )
    issuer = _open_issuer(settings)
    users = UserCertificates(Signer(folder, "user-ca"), own, standing, _login_rules(settings), issuer)
    handlers: dict[Action, Handler] = {"join": agents.join, "renew": agents.renew, "login": users.login}
    attempts, readings = (Attempts(settings.signing_attempts) for _ in range(2))
    return SigningEndpoints(handlers, own, attempts, readings, ledgers, issuer)


def _login_rules(settings: StubSettings) -> LoginRules:
    return LoginRules(
        life=timedelta(seconds=settings.login_ttl),
        longest=timedelta(seconds=settings.login_max_age),
        allow_users=frozenset(settings.allow_users),
        allow_groups=frozenset(settings.allow_groups),
    )


def _open_issuer(settings: StubSettings) -> Issuer | None:
    if settings.oidc_issuer is None:
        return None
    rules = OidcRules(
        issuer=settings.oidc_issuer,
        audiences=settings.oidc_audience,
        username_claim=settings.oidc_username_claim,
        username_prefix=settings.oidc_username_prefix or "",
        groups_claim=settings.oidc_groups_claim,
        groups_prefix=settings.oidc_groups_prefix or "",
        required=settings.oidc_require,
    )
    ca = None if settings.oidc_ca is None else PemFile(settings.oidc_ca)
    return Issuer(rules, Documents(upstream_context(ca=ca)).fetch)
