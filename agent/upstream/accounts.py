"""The accounts file: which service account of the cluster a user acts as.

The first rule that names the user, or one of the user's groups, decides; whom none names is refused.
"""

import re
from dataclasses import dataclass
from typing import Final

from tunnel.core.identity import Identity
from tunnel.core.policy.document import PolicyFault, Section
from tunnel.core.policy.patterns import NamePatterns, read_patterns

FILE_KEYS: Final = ("accounts",)
RULE_KEYS: Final = ("users", "groups", "serviceAccount")

# A namespace is a DNS label, the name of a service account a DNS subdomain (RFC 1123). Both stand in a path.
_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_ACCOUNT: Final = re.compile(rf"({_LABEL})/({_LABEL}(\.{_LABEL})*)")


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account of the cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class AccountRule:
    """Whom a service account stands for: users by name, or by one group of theirs."""

    users: NamePatterns
    groups: NamePatterns
    account: ServiceAccount


@dataclass(frozen=True, slots=True)
class AccountRules:
    """An accounts file, its rules in the file's order."""

    rules: tuple[AccountRule, ...]

    def account_of(self, identity: Identity) -> ServiceAccount | None:
        """Return the account that a user acts as, or None where no rule names that user."""
        for rule in self.rules:
            if rule.users.matches(identity.user) or rule.groups.matches_any(identity.groups):
                return rule.account
        return None


def parse_accounts(document: object) -> AccountRules:
    """Return the rules in an accounts file that was read as YAML.

    Raises:
        PolicyFault: it is wrong somewhere.
    """
    top = Section(document, "", FILE_KEYS)
    return AccountRules(tuple(_read_rule(section) for section in top.sections("accounts", RULE_KEYS)))


def _read_rule(section: Section) -> AccountRule:
    users, groups = read_patterns(section, "users"), read_patterns(section, "groups")
    if users is None and groups is None:
        raise section.fault("users", "is missing, and groups too: say whom the rule names ('*' is everybody)")
    nobody = NamePatterns(frozenset())
    account = _read_account(section.text("serviceAccount", ""), section.path("serviceAccount"))
    return AccountRule(users or nobody, groups or nobody, account)


def _read_account(text: str, path: str) -> ServiceAccount:
    match = _ACCOUNT.fullmatch(text)
    if match is None:
        raise PolicyFault(path, f"{text[:64]!a} is not NAMESPACE/NAME of a service account")
    return ServiceAccount(*text.split("/"))
