"""What an operator can set on who gets certificates, from whom and for how long."""

from dataclasses import dataclass
from pathlib import Path

from certs.foreign import UserAuthority, parse_user_authority, write_user_authority
from certs.lifetime import KUBECONFIG_LIFE
from tunnel.kit import values
from tunnel.kit.failures import UsageError
from tunnel.kit.process import ProcessSettings
from tunnel.kit.settings import setting
from tunnel.kit.values import Form

DAY: float = 86400.0


def _read_claim(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r} is not CLAIM=VALUE, such as hd=example.com")
    return name, value


def _read_issuer(text: str) -> str:
    if not values.url(text).startswith("https://"):
        raise ValueError(f"{text!r} is not https: whoever is in between could sign anybody in")
    return text  # as it is: tokens are compared with it to the last slash


_authority = Form(parse_user_authority, write_user_authority, "[PREFIX=]FILE")
_claim = Form(_read_claim, "=".join, "CLAIM=VALUE")
_issuer = Form(_read_issuer, metavar="URL")
_prefix = values.optional(values.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSettings(ProcessSettings):
    """Settings of a stub about certificates. Times are in seconds."""

    user_ca: tuple[UserAuthority, ...] = setting(
        parse=_authority,
        repeatable=True,
        help="A further authority of users beside the user-ca.crt of --ca-dir; read again when it changes. With a PREFIX its "
        "users and groups are called PREFIX and their name (corp:=/etc/corp-ca.crt makes alice corp:alice), so that they "
        "cannot be taken for another authority's.",
    )
    sweep_interval: float = setting(
        parse=values.timeout,
        default=5.0,
        help="How long a connection or session whose certificate has expired or was revoked may stay open. Its next request "
        "is refused at once.",
    )
    agent_ttl: float = setting(
        parse=values.timeout,
        default=30 * DAY,
        help="How long the certificates of agents are valid that join or renew here, which needs agent-ca.key in --ca-dir. "
        "Agents renew them when two thirds are over.",
    )
    login_ttl: float = setting(
        parse=values.timeout,
        default=KUBECONFIG_LIFE.total_seconds(),
        help="How long the certificates are valid that users get by 'cluster-tunnel login', which needs user-ca.key in --ca-dir.",
    )
    login_max_age: float = setting(
        parse=values.duration,
        default=30 * DAY,
        help="How long a user may renew a certificate by showing the one before, counted from the first; 0s for not at all.",
    )
    signing_attempts: int = setting(
        parse=values.count(minimum=1, maximum=100_000),
        default=60,
        help="How often in a minute one address may ask for a certificate, and as often for the stub's authority; more is "
        "answered 429.",
    )
    oidc_issuer: str | None = setting(
        parse=_issuer,
        default=None,
        help="The OpenID Connect issuer whose id-tokens sign users in, exactly as its tokens name it (iss).",
    )
    oidc_audience: tuple[str, ...] = setting(
        parse=values.text,
        repeatable=True,
        metavar="CLIENT",
        help="A client id whose id-tokens are taken (aud).",
    )
    oidc_ca: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="The authority that signed the issuer's certificate. The default are the system's authorities.",
    )
    oidc_username_claim: str = setting(
        parse=values.text,
        default="sub",
        metavar="CLAIM",
        help="The claim with the user's name. With email, an address that is not verified is refused.",
    )
    oidc_username_prefix: str | None = setting(
        parse=_prefix,
        default="oidc:",
        metavar="TEXT|off",
        help="What stands in front of the user's name, so that it cannot be taken for a name in a certificate made here.",
    )
    oidc_groups_claim: str = setting(
        parse=values.text,
        default="groups",
        metavar="CLAIM",
        help="The claim with the user's groups.",
    )
    oidc_groups_prefix: str | None = setting(
        parse=_prefix,
        default="oidc:",
        metavar="TEXT|off",
        help="What stands in front of each group's name.",
    )
    oidc_require: tuple[tuple[str, str], ...] = setting(
        parse=_claim,
        repeatable=True,
        help="A claim that must have this value, such as hd=example.com.",
    )


def check_signing(settings: SigningSettings) -> None:
    """Raise UsageError where settings about certificates contradict each other."""
    given = {
        "--oidc-audience": settings.oidc_audience,
        "--oidc-ca": settings.oidc_ca,
        "--oidc-require": settings.oidc_require,
    }
    if settings.oidc_issuer is None:
        for flag in (flag for flag, value in given.items() if value):
            raise UsageError(f"{flag} needs --oidc-issuer, which is not given")
    elif not settings.oidc_audience:
        raise UsageError(
            "--oidc-issuer needs --oidc-audience: without it any other application's token would sign users in"
        )
