"""The access file: who may reach which cluster through this stub."""

from stub.settings import StubSettings
from tunnel.core.policy.access import AccessDecisions, parse_access
from tunnel.kit.document import RulesFile


def open_access(settings: StubSettings) -> RulesFile[AccessDecisions] | None:
    """Return the rules of `--access`, or None without it: then every user certificate may reach every cluster.

    Raises:
        UsageError: the file cannot be read, or is wrong.
    """
    if settings.access is None:
        return None

    def parse(document: object) -> AccessDecisions:
        return AccessDecisions(
            parse_access(document),
            allow_users=frozenset(settings.allow_users),
            allow_groups=frozenset(settings.allow_groups),
        )

    return RulesFile(settings.access, parse, "--access")
