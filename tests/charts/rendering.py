"""A chart as helm renders it, and the command line and files that a Pod of it would start with."""

import argparse
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from tunnel.kit.settings import add_arguments, load

CHARTS = Path(__file__).parents[2] / "charts"
STUB = "cluster-tunnel-stub"
AGENT = "cluster-tunnel-agent"
NAMESPACE = "tunnels"
KUBERNETES = "1.34.0"
"""A helm that was not built by its makers says of itself that it knows Kubernetes 1.20."""

needs_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not on PATH")

Values = dict[str, Any]
Manifest = dict[str, Any]
S = TypeVar("S")

LEAST: dict[str, Values] = {
    STUB: {"image": {"repository": "example.com/ct"}, "certificates": {"existingSecret": "certificates"}},
    AGENT: {
        "image": {"repository": "example.com/ct"},
        "certificate": {"existingSecret": "certificate"},
        "stubs": ["stub.example.com:8443"],
    },
}
"""The values that have no default."""

SECRETS = {
    "certificates": ("server.crt", "server.key", "user-ca.crt", "agent-ca.crt", "denied.json"),
    "certificate": ("tls.crt", "tls.key", "ca.crt"),
    "join": ("token",),
}


def helm(command: str, chart: str, values: Values, *more: str) -> subprocess.CompletedProcess[str]:
    """Run helm on a chart with these values alone."""
    where = [str(CHARTS / chart)] if command == "lint" else ["release", str(CHARTS / chart)]
    arguments = ["helm", command, *where, "--namespace", NAMESPACE, "--kube-version", KUBERNETES, "-f", "-"]
    return subprocess.run(
        [*arguments, *more], input=yaml.safe_dump(values), capture_output=True, text=True, timeout=30
    )


def refusal(chart: str, values: Values) -> str:
    """What helm says to values that it must not take."""
    done = helm("template", chart, LEAST[chart] | values)
    assert done.returncode != 0, done.stdout
    return done.stderr


@dataclass(frozen=True)
class Rendered:
    """The objects that a chart makes."""

    manifests: list[Manifest]

    def all(self, kind: str) -> list[Manifest]:
        return [each for each in self.manifests if each["kind"] == kind]

    def one(self, kind: str, suffix: str = "") -> Manifest:
        (found,) = [each for each in self.all(kind) if each["metadata"]["name"].endswith(suffix)]
        return found

    @property
    def workload(self) -> Manifest:
        (found,) = [each for each in self.manifests if each["kind"] in ("Deployment", "DaemonSet")]
        return found

    @property
    def template(self) -> Manifest:
        found: Manifest = self.workload["spec"]["template"]
        return found

    @property
    def container(self) -> Manifest:
        (found,) = self.template["spec"]["containers"]
        return dict(found)

    @property
    def ports(self) -> dict[str, int]:
        return {each["name"]: each["containerPort"] for each in self.container["ports"]}


def render(chart: str, **values: Any) -> Rendered:
    """Render a chart with these values beside the least ones."""
    done = helm("template", chart, LEAST[chart] | values)
    assert done.returncode == 0, done.stderr
    return Rendered([each for each in yaml.safe_load_all(done.stdout) if each])


# What a Pod starts with ------------------------------------------------------------------------


def settings_of(rendered: Rendered, cls: type[S], pod: Path) -> S:
    """Return the settings that the container's command reads from its arguments, variables and files.

    Args:
        rendered: the chart.
        cls: the command's settings.
        pod: a folder that stands for the container's root.
    """
    _mount(rendered, pod)
    arguments = [_in_folder(each, pod) for each in rendered.container["args"]]
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser, cls)
    options = parser.parse_args(arguments[1:])
    return load(cls, options, variables_of(rendered))


def variables_of(rendered: Rendered) -> dict[str, str]:
    """The container's environment; a field of the Pod has its own path as its value."""
    found = {}
    for each in rendered.container.get("env", []):
        field = each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        found[each["name"]] = each["value"] if field is None else field
    return found


def _in_folder(argument: str, pod: Path) -> str:
    return re.sub(r"=(?=/)", f"={pod}", argument)


def _mount(rendered: Rendered, pod: Path) -> None:
    volumes = {each["name"]: each for each in rendered.template["spec"]["volumes"]}
    for mount in rendered.container["volumeMounts"]:
        folder = pod / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True)
        for name, text in _files(volumes[mount["name"]], rendered).items():
            (folder / name).write_text(text)


def _files(volume: Manifest, rendered: Rendered) -> dict[str, str]:
    if "secret" in volume:
        return dict.fromkeys(SECRETS[volume["secret"]["secretName"]], "")
    if "configMap" in volume:
        (found,) = [
            each
            for each in rendered.all("ConfigMap")
            if each["metadata"]["name"] == volume["configMap"]["name"]
        ]
        return dict(found["data"])
    return {}


# Rights ----------------------------------------------------------------------------------------

Right = tuple[str, str, str]
"""The API group, the resource and the verb; for a path the group is `/`."""


def rights_of(role: Manifest) -> set[Right]:
    """What a Role or ClusterRole allows, names aside."""
    found: set[Right] = set()
    for rule in role["rules"]:
        for verb in rule["verbs"]:
            found |= {("/", path, verb) for path in rule.get("nonResourceURLs", ())}
            found |= {(g, r, verb) for g in rule.get("apiGroups", ()) for r in rule.get("resources", ())}
    return found


def names_of(role: Manifest, resource: str) -> list[list[str] | None]:
    """The names to which the rules about a resource are limited; None where one is not."""
    return [rule.get("resourceNames") for rule in role["rules"] if resource in rule.get("resources", ())]


def includes(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether a selector leads to an object with these labels."""
    return bool(selector) and selector.items() <= labels.items()
