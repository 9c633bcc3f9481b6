"""Access rules: which identity may reach which cluster through the stub, and what it may ask there.

Rules only grant. What no rule grants is refused; where an identity is named by no rule for a cluster, the file's `default` decides.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from tunnel.core.errors import Forbidden
from tunnel.core.identifiers import ClusterId
from tunnel.core.identity import Identity, check_identity
from tunnel.core.policy.decision import Decision
from tunnel.core.policy.document import PolicyFault, Section
from tunnel.core.policy.patterns import NamePatterns, check_pattern, read_patterns
from tunnel.core.policy.request import PolicyRequest, read_request
from tunnel.core.policy.scope import SCOPE_KEYS, Scope, read_scope

Default = Literal["allow", "deny"]
Bearer = Literal["forward", "drop"]

ACCESS_KEYS: Final = ("default", "hideClusters", "allowUsers", "allowGroups", "clusters", "rules")
CLUSTER_KEYS: Final = ("default", "bearer")
RULE_KEYS: Final = ("name", "users", "groups", "clusters", *SCOPE_KEYS, "impersonate")

_DEFAULTS: Final = ("deny", "allow")
_BEARERS: Final = ("drop", "forward")
_CLUSTER: Final = re.compile(r"[a-z0-9-]{1,63}\*?")
_CACHED: Final = 8192
_CACHED_TARGET_BYTES: Final = 256
_SHOWN_DENIALS: Final = 3


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One grant.

    Attributes:
        label: how messages name it.
        users, groups: whom it names: by name, or by one group of theirs.
        clusters: where.
        scope: what may be asked.
        impersonate: whether that may be asked as somebody else (`kubectl --as`), where the cluster lets them.
    """

    label: str
    users: NamePatterns
    groups: NamePatterns
    clusters: NamePatterns
    scope: Scope
    impersonate: bool = False

    def names(self, identity: Identity, cluster: ClusterId) -> bool:
        """Whether it is about this identity in this cluster."""
        return self.clusters.matches(cluster) and (
            self.users.matches(identity.user) or self.groups.matches_any(identity.groups)
        )


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """What holds for one cluster, or for all whose ids begin alike.

    Attributes:
        default: for identities that no rule names there.
        bearer: whether a client's own bearer token travels on to it.
    """

    default: Default
    bearer: Bearer = "drop"


@dataclass(frozen=True, slots=True)
class AccessRules:
    """An access file.

    Attributes:
        default: where no rule names the identity, and the cluster has no default of its own.
        hide_clusters: a cluster out of reach looks like one that does not exist.
        allow_users, allow_groups: `system:` names that are let in.
        clusters: by pattern.
        rules: in the file's order, which decides only which of several that grant is named.
    """

    default: Default = "deny"
    hide_clusters: bool = False
    allow_users: frozenset[str] = frozenset()
    allow_groups: frozenset[str] = frozenset()
    clusters: tuple[tuple[str, ClusterAccess], ...] = ()
    rules: tuple[AccessRule, ...] = ()

    def cluster(self, cluster: ClusterId) -> ClusterAccess:
        """Return what holds for a cluster: the entry with its id, or else the one with the longest pattern that fits."""
        fitting = [
            (pattern == cluster, len(pattern), entry)
            for pattern, entry in self.clusters
            if NamePatterns.of([pattern]).matches(cluster)
        ]
        return max(fitting, key=lambda each: each[:2])[2] if fitting else ClusterAccess(self.default)

    @property
    def lets_some_impersonate(self) -> bool:
        """Whether there may be somebody who may ask as somebody else."""
        return any(rule.impersonate for rule in self.rules)

    @property
    def forwards_some_bearer(self) -> bool:
        """Whether there may be a cluster to which a client's own bearer token travels on."""
        return any(entry.bearer == "forward" for _, entry in self.clusters)


@dataclass(frozen=True, slots=True)
class _Grant:
    """What one identity has in one cluster: the same answer to everything, or rules to ask, and what they said before."""

    always: Decision | None
    rules: tuple[tuple[Scope, Decision], ...] = ()
    decided: dict[tuple[bytes, bytes, bool], Decision] = field(default_factory=dict)

    def judge(self, request: PolicyRequest) -> Decision:
        for scope, allowed in self.rules:
            if scope.barrier(request) is None:
                return allowed
        return self._denied(request)

    def _denied(self, request: PolicyRequest) -> Decision:
        reasons = []
        for scope, allowed in self.rules[:_SHOWN_DENIALS]:
            barrier = scope.barrier(request)
            assert barrier is not None
            reasons.append(f"{allowed.rule} allows {scope.explain(barrier, request)}")
        more = len(self.rules) - _SHOWN_DENIALS
        reasons += [f"{more} more rules do not allow it either"] if more > 0 else []
        return Decision(False, "the access rules", "; ".join(reasons))


class AccessDecisions:
    """Decides by access rules.

    Args:
        rules: the file.
        allow_users, allow_groups: `system:` names that are let in besides the file's.
    """

    def __init__(
        self,
        rules: AccessRules,
        *,
        allow_users: frozenset[str] = frozenset(),
        allow_groups: frozenset[str] = frozenset(),
    ) -> None:
        self.rules = rules
        self.allow_users = rules.allow_users | allow_users
        self.allow_groups = rules.allow_groups | allow_groups
        self.lets_some_impersonate = rules.lets_some_impersonate
        self.forwards_some_bearer = rules.forwards_some_bearer
        self._grants: dict[tuple[str, tuple[str, ...], ClusterId], _Grant] = {}
        self._forwards: dict[ClusterId, bool] = {}
        self._remembered = 0

    def forwards_bearer(self, cluster: ClusterId) -> bool:
        """Whether a client's own bearer token travels on to a cluster; also that of a client without a certificate, whom no
        rule can name: the cluster itself tells who that is."""
        if not self.forwards_some_bearer:
            return False
        forwards = self._forwards.get(cluster)
        if forwards is None:
            forwards = self._forwards[cluster] = self.rules.cluster(cluster).bearer == "forward"
            self._count()
        return forwards

    def decide(
        self, identity: Identity, cluster: ClusterId, method: bytes, target: bytes, *, upgrade: bool
    ) -> Decision:
        """Return whether an identity may ask this of a cluster.

        Args:
            identity: `check_identity` need not have seen it.
            cluster: where the request goes.
            method, target: without the cluster's prefix.
            upgrade: whether it asks for one.
        """
        caller = (identity.user, identity.groups, cluster)
        grant = self._grants.get(caller)
        if grant is None:
            grant = self._grants[caller] = self._grant(identity, cluster)
            self._count()
        if grant.always is not None:
            return grant.always
        asked = (method, target, upgrade)
        decision = grant.decided.get(asked)
        if decision is None:
            decision = grant.judge(read_request(method, target, upgrade=upgrade))
            if len(target) <= _CACHED_TARGET_BYTES:
                grant.decided[asked] = decision
                self._count()
        return decision

    def may_impersonate(
        self, identity: Identity, cluster: ClusterId, method: bytes, target: bytes, *, upgrade: bool
    ) -> bool:
        """Whether what `decide` has allowed may be asked as somebody else: one rule has to allow both."""
        request = read_request(method, target, upgrade=upgrade)
        return any(
            rule.impersonate and rule.names(identity, cluster) and rule.scope.barrier(request) is None
            for rule in self.rules.rules
        )

    def judge(self, identity: Identity, cluster: ClusterId, request: PolicyRequest) -> Decision:
        """As `decide`, about a request that is read already; nothing is remembered."""
        grant = self._grant(identity, cluster)
        return grant.always or grant.judge(request)

    def _count(self) -> None:
        """Forget everything now and then: whoever asks for ever new paths must not fill the memory."""
        self._remembered += 1
        if self._remembered > _CACHED:
            self._remembered = 0
            self._grants.clear()
            self._forwards.clear()

    def _grant(self, identity: Identity, cluster: ClusterId) -> _Grant:
        try:
            check_identity(identity, allow_users=self.allow_users, allow_groups=self.allow_groups)
        except Forbidden as refusal:
            return _Grant(Decision(False, "what is built in", refusal.message, reaches=False))
        naming = [rule for rule in self.rules.rules if rule.names(identity, cluster)]
        if not naming:
            return _Grant(self._by_default(identity, cluster))
        for rule in naming:
            if rule.scope.limits_nothing:
                return _Grant(Decision(True, rule.label, "it names the user and limits nothing"))
        return _Grant(None, tuple((rule.scope, Decision(True, rule.label)) for rule in naming))

    def _by_default(self, identity: Identity, cluster: ClusterId) -> Decision:
        default = self.rules.cluster(cluster).default
        said = f"no rule names {identity.user[:64]!a} for the cluster {cluster!r}"
        return Decision(default == "allow", f"the default ({default})", said, reaches=default == "allow")


# Reading a file --------------------------------------------------------------------------------


def parse_access(document: object) -> AccessRules:
    """Return the rules in an access file that was read as YAML.

    Raises:
        PolicyFault: it is wrong somewhere.
    """
    top = Section(document, "", ACCESS_KEYS)
    default = cast("Default", top.choice("default", _DEFAULTS, "deny"))
    rules = tuple(
        _read_rule(section, index) for index, section in enumerate(top.sections("rules", RULE_KEYS))
    )
    return AccessRules(
        default=default,
        hide_clusters=top.flag("hideClusters"),
        allow_users=read_exceptions(top, "allowUsers"),
        allow_groups=read_exceptions(top, "allowGroups"),
        clusters=_read_clusters(top, default),
        rules=rules,
    )


def _read_clusters(top: Section, default: Default) -> tuple[tuple[str, ClusterAccess], ...]:
    return tuple(
        (
            _check_cluster(name, f"clusters.{name}"),
            ClusterAccess(
                cast("Default", section.choice("default", _DEFAULTS, default)),
                cast("Bearer", section.choice("bearer", _BEARERS, "drop")),
            ),
        )
        for name, section in top.named_sections("clusters", CLUSTER_KEYS).items()
    )


def _read_rule(section: Section, index: int) -> AccessRule:
    users, groups = read_patterns(section, "users"), read_patterns(section, "groups")
    if users is None and groups is None:
        raise section.fault("users", "is missing, and groups too: say whom the rule names ('*' is everybody)")
    clusters = section.items("clusters", _check_cluster)
    if clusters is None:
        raise section.fault("clusters", "is missing: say where the rule holds ('*' is everywhere)")
    nobody = NamePatterns(frozenset())
    name = section.text("name", "")
    return AccessRule(
        label=f"the rule {name[:64]!a}" if name else f"rules[{index}]",
        users=users or nobody,
        groups=groups or nobody,
        clusters=NamePatterns.of(clusters),
        scope=read_scope(section),
        impersonate=section.flag("impersonate"),
    )


def _check_cluster(text: str, path: str) -> str:
    check_pattern(text, path)
    if text != "*" and not _CLUSTER.fullmatch(text):
        raise PolicyFault(path, f"{text!r} is not a cluster's id: 1 to 63 of a-z, 0-9 and '-'")
    return text


def read_exceptions(section: Section, key: str) -> frozenset[str]:
    """Return the `system:` names that a section lets in, spelt out.

    Raises:
        PolicyFault: a name needs no exception, or is a pattern.
    """
    return frozenset(section.items(key, _check_exception) or ())


def _check_exception(text: str, path: str) -> str:
    if "*" in text:
        raise PolicyFault(path, f"{text!r}: names that begin with 'system:' are let in one by one, spelt out")
    if not text.lower().startswith("system:"):
        raise PolicyFault(path, f"{text!r} needs no exception: only names that begin with 'system:' do")
    return text
