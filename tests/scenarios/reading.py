"""get in all its output formats, describe, and what reading the wrong thing says."""

import json

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl, Same


@scenario(every_version=True)
def get_prints_tables_and_documents(kubectl: Kubectl) -> None:
    """get prints the same table, names, YAML, JSON and single fields."""
    kubectl.apply(kubectl.configmap("one", colour="blue"), kubectl.configmap("two", colour="grün"))
    chosen = f"--selector=play={kubectl.play}"
    kubectl.run("get", "configmaps", chosen)
    kubectl.run("get", "configmaps", chosen, "-o", "name")
    kubectl.run("get", "configmap", kubectl.named("one"), "-o", "yaml")
    document = kubectl.run("get", "configmaps", chosen, "-o", "json")
    assert [item["data"]["colour"] for item in json.loads(document.stdout)["items"]] == ["blue", "grün"]
    field = kubectl.run("get", "configmap", kubectl.named("two"), "-o", "jsonpath={.data.colour}")
    assert field.stdout == "grün"


@scenario()
def get_prints_columns_labels_and_sorted_rows(kubectl: Kubectl) -> None:
    """get sorts, adds label columns and prints columns of one's own."""
    kubectl.apply(kubectl.configmap("b", n="1"), kubectl.configmap("a", n="2"))
    chosen = f"--selector=play={kubectl.play}"
    kubectl.run("get", "configmaps", chosen, "--sort-by=.data.n", "--no-headers")
    kubectl.run("get", "configmaps", chosen, "--show-labels")
    kubectl.run("get", "configmaps", chosen, "-L", "play")
    kubectl.run("get", "configmaps", chosen, "-o", "custom-columns=NAME:.metadata.name,N:.data.n")
    kubectl.run("get", "configmaps", chosen, "-o", "go-template={{range .items}}{{.data.n}} {{end}}")
    kubectl.run("get", "configmaps", chosen, "--chunk-size=1")


@scenario()
def get_shows_pods_wide(kubectl: Kubectl) -> None:
    """get -o wide shows a running pod with its address and node."""
    plain = kubectl.run("get", "pod", "shell")
    assert plain.stdout.splitlines()[1].split()[:3] == ["shell", "1/1", "Running"]
    wide = kubectl.run("get", "pod", "shell", "-o", "wide", same=Same.PATHS)
    assert wide.stdout.split()[:2] == ["NAME", "READY"]
    assert "NODE" in wide.stdout
    kubectl.run("get", "pod", "shell", "-o", "yaml", same=Same.PATHS)
    kubectl.run("get", "namespace", kubectl.access.namespace)


@scenario()
def get_of_what_is_not_there_fails(kubectl: Kubectl) -> None:
    """get of an unknown object and of an unknown kind fail as the cluster says."""
    missing = kubectl.run("get", "configmap", kubectl.named("none"), code=1)
    assert missing.stderr.startswith("Error from server (NotFound): configmaps")
    kubectl.run("get", "configmap", kubectl.named("none"), "--ignore-not-found")
    kubectl.run("get", "nothings", code=1)
    kubectl.run("get", "configmaps", f"--selector=play={kubectl.play}")
    kubectl.run("get", "configmaps", "--field-selector=spec.nothing=1", code=1, same=Same.PATHS)


@scenario(cases=(23,))
def get_raw_keeps_odd_paths(kubectl: Kubectl) -> None:
    """get --raw brings paths and queries to the cluster as they were typed."""
    kubectl.apply(kubectl.configmap("raw", a="1"))
    objects = f"/api/v1/namespaces/{kubectl.access.namespace}/configmaps"
    got = kubectl.run("get", "--raw", f"{objects}/{kubectl.named('raw')}", same=Same.PATHS)
    assert json.loads(got.stdout)["data"] == {"a": "1"}
    chosen = f"labelSelector=play%3D{kubectl.play}"
    listed = kubectl.run("get", "--raw", f"{objects}?limit=5&{chosen}&limit=7", same=Same.PATHS)
    assert len(json.loads(listed.stdout)["items"]) == 1
    none = kubectl.run("get", "--raw", f"{objects}?{chosen}x", same=Same.PATHS)
    assert json.loads(none.stdout)["items"] == []
    for odd in (
        "/api//v1",
        "/api/v1/../v1",
        "/api/v1;p=1",
        "/api/v1/%e4",
        "/api/v1/a%20b",
        "/nothing?b=2&a=1",
    ):
        kubectl.run("get", "--raw", odd, code=None, same=Same.PATHS)


@scenario()
def describe_prints_an_object(kubectl: Kubectl) -> None:
    """describe prints an object and says that it has no events."""
    kubectl.apply(kubectl.configmap("told", a="1"))
    told = kubectl.run("describe", "configmap", kubectl.named("told"))
    assert "Name:" in told.stdout
    kubectl.run("describe", "pod", "shell", "--show-events=false", same=Same.PATHS)


@scenario(cases=(2,))
def output_without_http2_is_identical(kubectl: Kubectl) -> None:
    """get, apply and logs print the same over HTTP/1.1 as over what kubectl negotiates."""
    manifest = kubectl.configmap("plain", a="1")
    kubectl.apply(manifest)
    commands = [
        ("get", "configmap", kubectl.named("plain"), "-o", "yaml"),
        ("get", "pod", "shell"),
        ("logs", "shell"),
        ("get", "configmap", kubectl.named("none")),
    ]
    for command in commands:
        kubectl.run(*command, code=None)
        kubectl.run(*command, code=None, settings={"DISABLE_HTTP2": "1"})
        assert kubectl.steps[-1] == kubectl.steps[-2]
