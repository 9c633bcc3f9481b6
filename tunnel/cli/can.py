"""`cluster-tunnel can`: explains what the access rules and the ceiling decide about a request, without sending it."""

import argparse
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from tunnel.cli.certs import add_groups, checked
from tunnel.cli.parser import examples
from tunnel.core.http.kubernetes import RequestInfo
from tunnel.core.identifiers import ClusterId, parse_cluster_id
from tunnel.core.identity import Identity
from tunnel.core.policy.access import AccessDecisions, AccessRules, parse_access
from tunnel.core.policy.ceiling import CeilingRules, parse_ceiling
from tunnel.core.policy.decision import Decision
from tunnel.core.policy.document import PolicyFault
from tunnel.core.policy.request import PolicyRequest, policy_request, read_request
from tunnel.core.policy.resources import GROUPS, check_resource
from tunnel.kit.document import RulesFile
from tunnel.kit.failures import UsageError
from tunnel.kit.suggestions import did_you_mean

DENIED: Final = 1

_METHODS: Final = {
    "get": b"GET",
    "list": b"GET",
    "watch": b"GET",
    "create": b"POST",
    "update": b"PUT",
    "patch": b"PATCH",
    "delete": b"DELETE",
    "deletecollection": b"DELETE",
}
_COMMANDS: Final = {
    "exec": "create pods/NAME --subresource exec",
    "attach": "create pods/NAME --subresource attach",
    "port-forward": "create pods/NAME --subresource portforward",
    "logs": "get pods/NAME --subresource log",
    "debug": "patch pods/NAME --subresource ephemeralcontainers",
    "scale": "patch deployments/NAME --subresource scale",
}
_UPGRADED: Final = ("exec", "attach", "portforward")
_EXAMPLES: Final = (
    "cluster-tunnel can alice delete pods/web -n shop -g developers --cluster prod --access access.yaml --ceiling ceiling.yaml",
    "cluster-tunnel can alice create pods/web --subresource exec -n shop --cluster prod --ceiling ceiling.yaml",
    "cluster-tunnel can alice get /metrics --cluster prod --access access.yaml",
)
_MEANING: Final = """\
RESOURCE is written as in the rules (pods, deployments.apps), or begins with '/' for a path that is no resource. What RBAC in
the cluster decides comes on top. Exit codes: 0 allowed, 1 denied, 2 called wrongly.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.description = (
        "Explain which rule at the stub and at the agent decides about a request; nothing is sent."
    )
    parser.epilog = f"{examples(*_EXAMPLES)}\n\n{_MEANING}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("user", metavar="USER", help="the user's name as the certificate has it")
    parser.add_argument("verb", metavar="VERB", help=f"one of {', '.join(_METHODS)}")
    parser.add_argument("resource", metavar="RESOURCE[/NAME]", help="what is asked for, such as pods/web")
    parser.add_argument(
        "-n",
        "--namespace",
        default="",
        metavar="NAME",
        help="left out: all namespaces, or a resource without one",
    )
    add_groups(parser)
    parser.add_argument("--subresource", default="", metavar="NAME", help="such as log, exec or scale")
    parser.add_argument("--cluster", required=True, metavar="ID", help="the cluster that is asked")
    parser.add_argument("--access", type=Path, metavar="FILE", help="the stub's access rules")
    parser.add_argument("--ceiling", type=Path, metavar="FILE", help="the agent's ceiling")


def run(options: argparse.Namespace) -> int:
    """Print what each end decides and return the exit code.

    Raises:
        UsageError: a name or verb is not one, or a file cannot be read.
    """
    cluster = checked("--cluster", parse_cluster_id, options.cluster)
    identity = Identity(options.user, tuple(options.group))
    request = _request(options)
    decisions = {
        "stub": _at_the_stub(options.access, identity, cluster, request),
        "agent": _at_the_agent(options.ceiling, identity, request),
    }
    for end, decision in decisions.items():
        print(f"{'allowed' if decision.allowed else 'denied':8} {end:6} {_explained(decision)}")
    return 0 if all(decision.allowed for decision in decisions.values()) else DENIED


def _explained(decision: Decision) -> str:
    return f"{decision.rule}: {decision.reason}" if decision.reason else decision.rule


# The two ends ----------------------------------------------------------------------------------


def _at_the_stub(
    path: Path | None, identity: Identity, cluster: ClusterId, request: PolicyRequest
) -> Decision:
    if path is None:
        everybody = AccessDecisions(AccessRules(default="allow")).judge(identity, cluster, request)
        if not everybody.allowed:
            return everybody
        return everybody._replace(rule="no access file", reason="every user may reach every cluster")
    return AccessDecisions(RulesFile(path, parse_access, "--access").current(0)).judge(
        identity, cluster, request
    )


def _at_the_agent(path: Path | None, identity: Identity, request: PolicyRequest) -> Decision:
    rules = CeilingRules() if path is None else RulesFile(path, parse_ceiling, "--ceiling").current(0)
    decision = rules.judge(identity, request)
    if path is None and decision.allowed:
        return decision._replace(rule="no ceiling file", reason="only 'system:' names are refused")
    return decision


# The request -----------------------------------------------------------------------------------


def _request(options: argparse.Namespace) -> PolicyRequest:
    method = _METHODS.get(options.verb)
    if method is None:
        raise UsageError(_unknown_verb(options.verb))
    if options.resource.startswith("/"):
        if not options.resource.isascii() or not options.resource.isprintable():
            raise UsageError(
                f"{options.resource!r}: a path has ASCII characters alone, others percent-encoded"
            )
        return read_request(method, options.resource.encode(), upgrade=False)
    info = _resource_info(options)
    selects = info.name and info.verb in ("list", "watch")
    query = urlencode({"fieldSelector": f"metadata.name={info.name}"}).encode() if selects else b""
    return policy_request(method, info, query=query, upgrade=info.subresource in _UPGRADED)


def _unknown_verb(verb: str) -> str:
    if verb in _COMMANDS:
        return f"{verb!r} is a command of kubectl; the API's words are: {_COMMANDS[verb]}"
    return f"unknown verb {verb!r}{did_you_mean(verb, _METHODS)}; known are {', '.join(_METHODS)}"


def _resource_info(options: argparse.Namespace) -> RequestInfo:
    resource, _, name = options.resource.partition("/")
    if "/" in name:
        raise UsageError(f"{options.resource!r} has two '/'; a subresource is given with --subresource")
    resource, group = _with_group(resource)
    namespace = options.namespace
    if (resource, group) == ("namespaces", ""):
        namespace = name  # as the apiserver has it
    return RequestInfo(options.verb, "", True, group, "v1", namespace, resource, options.subresource, name)


def _with_group(text: str) -> tuple[str, str]:
    text = f"{text}.{GROUPS[text]}" if text in GROUPS else text
    if "*" in text:
        raise UsageError(f"{text!r}: one resource is asked about, without '*'")
    try:
        check_resource(text, "RESOURCE")
    except PolicyFault as fault:
        raise UsageError(str(fault)) from fault
    resource, _, group = text.partition(".")
    return resource, group
