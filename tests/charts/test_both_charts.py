"""What holds for both charts."""

import dataclasses
import re
import tomllib
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml

from agent.settings import Mode
from tests.charts.rendering import AGENT, CHARTS, SECRETS, STUB, needs_helm, refusal, render, variables_of
from tests.charts.schema import CLASSES, LEFT_OUT, own_flags, read_schema, settings_schema

ROOT = CHARTS.parent

both = pytest.mark.parametrize("chart", [STUB, AGENT])


def values_of(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())
    return found


# Without helm ----------------------------------------------------------------------------------


@both
def test_the_schema_knows_each_value_and_no_other(chart: str) -> None:
    assert sorted(_differences(values_of(chart), read_schema(chart), "")) == []


def _differences(values: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
    known = schema.get("properties")
    if known is None or at == ".settings":
        return
    assert schema["additionalProperties"] is False, at
    yield from (f"{at}.{key} has no schema" for key in values.keys() - known.keys())
    optional = {"global"} if not at else {"limits", "claims"} if at == ".resources" else set()
    yield from (f"{at}.{key} has no value" for key in known.keys() - values.keys() - optional)
    for key in values.keys() & known.keys():
        if isinstance(values[key], dict):
            yield from _differences(values[key], known[key], f"{at}.{key}")


@both
def test_each_setting_can_be_set_in_one_place(chart: str) -> None:
    hint = "run `python -m tests.charts.schema`, or give the setting a value of the chart"
    assert read_schema(chart)["properties"]["settings"] == settings_schema(chart), hint
    assert own_flags(chart) | LEFT_OUT[chart] <= {
        field.name.replace("_", "-") for field in dataclasses.fields(CLASSES[chart])
    }


def test_the_modes_are_those_of_the_agent() -> None:
    assert read_schema(AGENT)["properties"]["mode"]["enum"] == list(get_args(Mode))


@both
def test_a_chart_has_the_version_of_the_package(chart: str) -> None:
    described = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert described["appVersion"] == project["version"]
    assert described["version"] == project["version"]


@both
def test_the_page_of_a_chart_names_each_value(chart: str) -> None:
    page = (CHARTS / chart / "README.md").read_text()
    assert [key for key in values_of(chart) if f"`{key}" not in page] == []


@pytest.mark.parametrize("page", ["docs/install.md", "charts/cluster-tunnel-stub/README.md"])
def test_each_command_that_makes_the_stubs_secret_gives_it_every_file(page: str) -> None:
    """One without the deny list would let in who was revoked."""
    text = (ROOT / page).read_text()
    commands = re.findall(r"create secret generic stub-certificates((?:.*\\\n)*.*)", text)
    assert commands
    for command in commands:
        assert set(re.findall(r"--from-file=ca/(\S+)", command)) == set(SECRETS["certificates"])


# With helm -------------------------------------------------------------------------------------


@needs_helm
@both
@pytest.mark.parametrize(
    "values",
    [
        {"replica": 2},
        {"image": {"repository": "example.com/ct", "tagg": "1"}},
        {"settings": {"log-levle": "debug"}},
        {"settings": {"drain-grace": "5s"}},
        {"drainGraceSeconds": "30s"},
        {"serviceAccount": {"create": "yes"}},
        {"topologySpreadConstraints": [{"topologyKey": "zone"}]},
        {"image": {"repository": "example.com/ct", "tag": "latest"}},
    ],
    ids=str,
)
def test_a_mistake_in_the_values_is_refused_with_its_place(chart: str, values: dict[str, Any]) -> None:
    message = refusal(chart, values)
    assert next(iter(values)) in message
    assert "schema" in message


@needs_helm
@both
def test_an_image_is_named_by_its_owner_and_has_the_charts_version(chart: str) -> None:
    assert "image.repository" in refusal(chart, {"image": {}})
    version = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())["appVersion"]
    assert render(chart).container["image"] == f"example.com/ct:{version}"
    digest = "sha256:" + "0" * 64
    pinned = render(chart, image={"repository": "example.com/ct", "digest": digest})
    assert pinned.container["image"] == f"example.com/ct@{digest}"


@needs_helm
@both
def test_a_pod_has_no_power_over_its_node(chart: str) -> None:
    rendered = render(chart)
    pod, container = rendered.template["spec"], rendered.container["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["readOnlyRootFilesystem"] is True
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


@needs_helm
@both
def test_the_environment_is_the_charts_alone(chart: str) -> None:
    rendered = render(chart)
    assert rendered.template["spec"]["enableServiceLinks"] is False
    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is False
    known = {f"CTUN_{field.name.upper()}" for field in dataclasses.fields(CLASSES[chart])}
    assert variables_of(rendered).keys() <= known
    assert variables_of(rendered)["CTUN_CONTROL"].startswith("/run/cluster-tunnel/")


@needs_helm
@both
def test_kubelets_ask_the_admin_port(chart: str) -> None:
    container = render(chart).container
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/livez", "port": "admin"},
        "liveness": {"path": "/livez", "port": "admin"},
        "readiness": {"path": "/readyz", "port": "admin"},
    }


@needs_helm
@both
def test_other_settings_make_other_pods_and_rules_do_not(chart: str) -> None:
    rules: dict[str, dict[str, Any]] = {
        STUB: {"access": {"default": "deny"}},
        AGENT: {"ceiling": {"readOnly": True}},
    }

    def mark(**values: Any) -> str:
        return str(render(chart, **values).template["metadata"]["annotations"]["cluster-tunnel/settings"])

    assert mark(settings={"log-level": "debug"}) != mark()
    assert mark(**rules[chart]) == mark()


@needs_helm
@both
def test_names_are_names_however_long_the_releases_is(chart: str) -> None:
    more: dict[str, dict[str, Any]] = {
        STUB: {"agentService": {"enabled": True}, "access": {"default": "deny"}},
        AGENT: {"ceiling": {"readOnly": True}},
    }
    rendered = render(chart, fullnameOverride="x" * 90, **more[chart])
    for manifest in rendered.manifests:
        if manifest["kind"] not in ("ClusterRole", "ClusterRoleBinding"):
            assert re.fullmatch(r"[a-z0-9-]{1,63}", manifest["metadata"]["name"]), manifest["kind"]


@needs_helm
@both
def test_what_is_mounted_beside_is_there(chart: str) -> None:
    volume, mount = {"name": "more", "secret": {"secretName": "x"}}, {"name": "more", "mountPath": "/more"}
    rendered = render(chart, extraVolumes=[volume], extraVolumeMounts=[mount])
    assert volume in rendered.template["spec"]["volumes"]
    assert mount in rendered.container["volumeMounts"]
