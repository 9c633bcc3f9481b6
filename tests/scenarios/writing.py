"""apply, create, edit, replace, patch, label, annotate, delete, and the conflicts they meet."""

import json

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl, Same


@scenario(every_version=True)
def apply_creates_keeps_and_changes(kubectl: Kubectl) -> None:
    """apply says created, unchanged and configured, and merges what it owns."""
    first = kubectl.apply(kubectl.configmap("applied", a="1", b="1"))
    assert first.stdout.strip().endswith("created")
    again = kubectl.apply(kubectl.configmap("applied", a="1", b="1"))
    assert again.stdout.strip().endswith("unchanged")
    changed = kubectl.apply(kubectl.configmap("applied", a="2"))
    assert changed.stdout.strip().endswith("configured")
    left = kubectl.run("get", "configmap", kubectl.named("applied"), "-o", "jsonpath={.data}")
    assert json.loads(left.stdout) == {"a": "2"}


@scenario()
def apply_on_the_server_refuses_a_conflict(kubectl: Kubectl) -> None:
    """apply --server-side refuses to take another manager's field, unless it is forced."""
    server_side = ("apply", "--server-side", "-f", "-")
    mine, theirs = (json.dumps(kubectl.configmap("owned", a=value)) for value in "12")
    kubectl.run(*server_side, "--field-manager=first", stdin=mine)
    refused = kubectl.run(*server_side, "--field-manager=second", stdin=theirs, code=1)
    assert "conflict" in refused.stderr
    kubectl.run(*server_side, "--field-manager=second", "--force-conflicts", stdin=theirs)
    kubectl.run("get", "configmap", kubectl.named("owned"), "-o", "jsonpath={.data.a}")


@scenario()
def create_twice_fails(kubectl: Kubectl) -> None:
    """create makes an object once; the second time it is there already."""
    create = ("create", "configmap", kubectl.named("made"), "--from-literal=a=1")
    kubectl.run(*create)
    second = kubectl.run(*create, code=1)
    assert "already exists" in second.stderr
    kubectl.run(*create, "--dry-run=client", "-o", "yaml")
    kubectl.run(
        "create", "-f", "-", stdin='{"apiVersion":"v1","kind":"ConfigMap","data":{}}', code=1, same=Same.PATHS
    )


@scenario()
def edit_changes_an_object(kubectl: Kubectl) -> None:
    """edit brings the object to an editor and what it left back; without a change it says so."""
    kubectl.apply(kubectl.configmap("edited", colour="blue"))
    name = kubectl.named("edited")
    kubectl.run("edit", "configmap", name, settings={"KUBE_EDITOR": "sed -i s/blue/red/g"})
    got = kubectl.run("get", "configmap", name, "-o", "jsonpath={.data.colour}")
    assert got.stdout == "red"
    kubectl.run("edit", "configmap", name, settings={"KUBE_EDITOR": "true"})


@scenario()
def replace_takes_the_whole_object_and_conflicts_when_stale(kubectl: Kubectl) -> None:
    """replace puts another object in place; one read before another's write is refused."""
    kubectl.run("create", "-f", "-", stdin=json.dumps(kubectl.configmap("swapped", a="1")))
    stale = kubectl.run("get", "configmap", kubectl.named("swapped"), "-o", "json").stdout
    kubectl.run("replace", "-f", "-", stdin=json.dumps(kubectl.configmap("swapped", b="2")))
    refused = kubectl.run("replace", "-f", "-", stdin=stale, code=1)
    assert "(Conflict)" in refused.stderr
    left = kubectl.run("get", "configmap", kubectl.named("swapped"), "-o", "jsonpath={.data}")
    assert json.loads(left.stdout) == {"b": "2"}


@scenario()
def patch_of_each_type_changes_its_part(kubectl: Kubectl) -> None:
    """patch works as JSON patch, merge patch and strategic merge patch."""
    kubectl.apply(kubectl.configmap("patched", a="1", b="1"))
    patch = ("patch", "configmap", kubectl.named("patched"), "-p")
    kubectl.run(*patch, '{"data":{"c":"3"}}')
    kubectl.run(*patch, '{"data":{"a":null}}', "--type=merge")
    kubectl.run(*patch, '[{"op":"replace","path":"/data/b","value":"2"}]', "--type=json")
    kubectl.run(
        *patch, '[{"op":"test","path":"/data/b","value":"7"}]', "--type=json", code=1, same=Same.PATHS
    )
    left = kubectl.run("get", "configmap", kubectl.named("patched"), "-o", "jsonpath={.data}")
    assert json.loads(left.stdout) == {"b": "2", "c": "3"}


@scenario()
def strategic_patch_merges_lists_by_their_key(kubectl: Kubectl) -> None:
    """A strategic merge patch of a pod changes the container of that name and keeps the rest."""
    name = kubectl.start_pod("merged", "sleep", "600")
    patch = {
        "spec": {"containers": [{"name": "main", "image": f"{kubectl.access.image}"}]},
        "metadata": {"labels": {"a": "1"}},
    }
    kubectl.run("patch", "pod", name, "-p", json.dumps(patch))
    kept = kubectl.run(
        "get", "pod", name, "-o", "jsonpath={.spec.containers[*].command[0]} {.metadata.labels.a}"
    )
    assert kept.stdout == "sleep 1"
    kubectl.run("delete", "pod", name)


@scenario()
def label_and_annotate_write_metadata(kubectl: Kubectl) -> None:
    """label and annotate add, refuse to overwrite, overwrite when told to, and remove."""
    kubectl.apply(kubectl.configmap("marked", a="1"))
    for verb in ("label", "annotate"):
        kubectl.run(verb, "configmap", kubectl.named("marked"), "tier=front")
        kubectl.run(verb, "configmap", kubectl.named("marked"), "tier=back", code=1)
        kubectl.run(verb, "configmap", kubectl.named("marked"), "tier=back", "--overwrite")
        kubectl.run(verb, "configmap", kubectl.named("marked"), "tier-")
    kubectl.run("get", "configmap", kubectl.named("marked"), "--show-labels")


@scenario()
def delete_waits_until_the_object_is_gone(kubectl: Kubectl) -> None:
    """delete returns when the object is gone; a second delete finds nothing."""
    kubectl.apply(kubectl.pod("doomed", "sleep", "600"))
    kubectl.run("delete", "pod", kubectl.named("doomed"), "--wait=true")
    kubectl.run("get", "pod", kubectl.named("doomed"), code=1)
    kubectl.run("delete", "pod", kubectl.named("doomed"), code=1)
    kubectl.apply(kubectl.configmap("x", a="1"), kubectl.configmap("y", a="1"))
    kubectl.run("delete", "configmaps", f"--selector=play={kubectl.play}", "--wait=false")


@scenario(cases=(26,))
def a_body_at_the_limit_passes_and_one_beyond_gets_the_clusters_answer(kubectl: Kubectl) -> None:
    """2.9 MB arrive and are accepted; for 3.2 MB the cluster's own 413 comes back."""
    fits = kubectl.run(*_CREATE_DRY, stdin=_deployment_of(kubectl, 2_900_000))
    assert "created (server dry run)" in fits.stdout
    refused = kubectl.run(*_CREATE_DRY, stdin=_deployment_of(kubectl, 3_200_000), code=1, same=Same.PATHS)
    assert "limit is 3145728" in refused.stderr


_CREATE_DRY = ("create", "--dry-run=server", "-f", "-")


def _deployment_of(kubectl: Kubectl, size_bytes: int) -> str:
    """A Deployment of about that size. Its environment is not limited; a ConfigMap would end at 1 MiB."""
    pod = kubectl.pod("large", "true")
    pod["spec"].pop("restartPolicy")
    pod["spec"]["containers"][0]["env"] = [{"name": "LARGE", "value": "x" * (size_bytes - 1000)}]
    template = {"metadata": {"labels": {"play": kubectl.play}}, "spec": pod["spec"]}
    specification = {"selector": {"matchLabels": {"play": kubectl.play}}, "template": template}
    metadata = {"name": kubectl.named("large")}
    return json.dumps(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": specification}
    )
