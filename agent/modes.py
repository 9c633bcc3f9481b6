"""What the values of `--mode` are made of: whom the apiserver sees, and what it is shown."""

from agent.ceiling import Ceiling, open_ceiling
from agent.inspection import Inspection
from agent.settings import AgentSettings
from agent.upstream.credential import Credential, NoToken
from agent.upstream.pool import UpstreamPool
from agent.upstream.posting import Poster
from agent.upstream.reviews import Reviews
from agent.upstream.target import UpstreamTarget
from agent.upstream.tokens import AccountTokens, TokenIssuer, open_accounts


def shown_credential(settings: AgentSettings, target: UpstreamTarget) -> Credential:
    """Return the credential that users' requests are sent with, unless they act as service accounts."""
    return NoToken() if settings.mode == "passthrough" else target.credential


def make_inspection(settings: AgentSettings, target: UpstreamTarget, upstream: UpstreamPool) -> Inspection:
    """Return what checks requests, and adds to them what the mode prescribes.

    Raises:
        UsageError: the ceiling or the accounts file cannot be read, or is wrong.
    """
    bearer = settings.mode == "passthrough"
    ceiling = Ceiling(
        impersonate=settings.mode == "impersonate",
        file=open_ceiling(settings.ceiling),
        extra=frozenset(settings.impersonate_extra),
        bearer=bearer,
    )
    posts = Poster(target, upstream)
    accounts = None
    if settings.accounts is not None:
        accounts = AccountTokens(open_accounts(settings.accounts), TokenIssuer(posts).issue)
    return Inspection(
        ceiling,
        shown_credential(settings, target),
        target.authority,
        target.base_path,
        accounts=accounts,
        bearer=bearer,
        reviews=Reviews(posts) if settings.allow_impersonation else None,
    )
