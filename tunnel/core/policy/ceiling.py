"""The ceiling: what the owner of a cluster allows at most, whatever a stub asks for. All of its parts hold at once."""

from dataclasses import dataclass
from typing import Final

from tunnel.core.errors import Forbidden
from tunnel.core.identity import Identity, check_identity
from tunnel.core.policy.access import read_exceptions
from tunnel.core.policy.decision import Decision
from tunnel.core.policy.document import Section
from tunnel.core.policy.patterns import NamePatterns, read_limit, read_patterns
from tunnel.core.policy.request import PolicyRequest, read_request
from tunnel.core.policy.scope import SCOPE_KEYS, Scope, read_scope

CEILING_KEYS: Final = ("users", "groups", "forbiddenGroups", "allowUsers", "allowGroups", *SCOPE_KEYS)

_EVERYTHING: Final = Scope()
_WITHIN: Final = Decision(True, "the ceiling")
_BUILT_IN: Final = "what is built in"


@dataclass(frozen=True, slots=True)
class CeilingRules:
    """A ceiling file; None limits nothing. `CeilingRules()` is what holds without a file.

    Attributes:
        users: who may come.
        groups: which groups they may bring; one other refuses the request, because to drop it silently would change what
            the user is.
        forbidden_groups: groups that nobody may bring.
        allow_users, allow_groups: `system:` names that may come all the same.
        scope: what may be asked.
    """

    users: NamePatterns | None = None
    groups: NamePatterns | None = None
    forbidden_groups: NamePatterns | None = None
    allow_users: frozenset[str] = frozenset()
    allow_groups: frozenset[str] = frozenset()
    scope: Scope = _EVERYTHING

    def judge(self, identity: Identity, request: PolicyRequest) -> Decision:
        """Return whether all of a request is within."""
        decision = self.decide_identity(identity)
        return self._judge_request(request) if decision.allowed else decision

    def decide_identity(self, identity: Identity) -> Decision:
        """Return whether this identity may come at all."""
        try:
            check_identity(identity, allow_users=self.allow_users, allow_groups=self.allow_groups)
        except Forbidden as refusal:
            return Decision(False, _BUILT_IN, refusal.message)
        if self.users is not None and not self.users.matches(identity.user):
            return _denied("users", f"the user {identity.user[:64]!a} is not among those allowed")
        for group in identity.groups:
            if self.groups is not None and not self.groups.matches(group):
                return _denied("groups", f"the group {group[:64]!a} is not among those allowed")
            if self.forbidden_groups is not None and self.forbidden_groups.matches(group):
                return _denied("forbiddenGroups", f"the group {group[:64]!a} is forbidden")
        return _WITHIN

    def decide_request(self, method: bytes, target: bytes, *, upgrade: bool) -> Decision:
        """Return whether this may be asked, whoever asks."""
        return self._judge_request(read_request(method, target, upgrade=upgrade))

    def _judge_request(self, request: PolicyRequest) -> Decision:
        barrier = None if self.scope.limits_nothing else self.scope.barrier(request)
        if barrier is None:
            return _WITHIN
        return Decision(False, "the ceiling", f"it allows {self.scope.explain(barrier, request)}")


def _denied(part: str, reason: str) -> Decision:
    return Decision(False, f"the ceiling's {part}", reason)


def parse_ceiling(document: object) -> CeilingRules:
    """Return the ceiling in a file that was read as YAML.

    Raises:
        PolicyFault: it is wrong somewhere.
    """
    top = Section(document, "", CEILING_KEYS)
    return CeilingRules(
        users=read_limit(top, "users"),
        groups=read_limit(top, "groups"),
        forbidden_groups=read_patterns(top, "forbiddenGroups"),
        allow_users=read_exceptions(top, "allowUsers"),
        allow_groups=read_exceptions(top, "allowGroups"),
        scope=read_scope(top),
    )
