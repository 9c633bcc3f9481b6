"""`--lease`."""

import re
from pathlib import Path

import pytest

from stub.election.choice import FileLease, KubernetesLease, LeaseChoice, NoLease, lease, pod, selector


def choices(folder: Path) -> list[tuple[str, LeaseChoice]]:
    return [
        ("none", NoLease()),
        (f"file:{folder}/lease.json", FileLease(folder / "lease.json")),
        ("kubernetes:cluster-tunnel/stub.active", KubernetesLease("cluster-tunnel", "stub.active")),
    ]


def test_each_kind_is_read_and_written_back(tmp_path: Path) -> None:
    for text, choice in choices(tmp_path):
        assert lease(text) == choice
        assert lease.write(choice) == text


@pytest.mark.parametrize(
    "text", ["", "no", "None", "file", "file:", "kubernetes", "kubernetes:", "etcd:x", "none:", "none:x"]
)
def test_another_text_is_refused_with_what_is_possible(text: str) -> None:
    with pytest.raises(ValueError, match="give none, file:PATH or kubernetes:NAMESPACE/NAME"):
        lease(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kubernetes:ns", "'' is not the name of a Lease"),
        ("kubernetes:/name", "'' is not the name of a namespace"),
        ("kubernetes:ns/", "'' is not the name of a Lease"),
        ("kubernetes:a.b/name", "'a.b' is not the name of a namespace"),
        ("kubernetes:ns/a/b", "'a/b' is not the name of a Lease"),
        ("kubernetes:ns/Name", "'Name' is not the name of a Lease"),
        ("kubernetes:ns/name\n", "is not the name of a Lease"),
        ("kubernetes:ns/..", "'..' is not the name of a Lease"),
        (f"kubernetes:{'n' * 64}/name", "is not the name of a namespace"),
        (f"kubernetes:ns/{'n.' * 127}", "is not the name of a Lease"),
    ],
)
def test_names_that_kubernetes_would_refuse_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        lease(text)


def test_a_path_without_its_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        lease(f"file:{tmp_path}/none/lease.json")
    with pytest.raises(ValueError, match="is a folder"):
        lease(f"file:{tmp_path}")


@pytest.mark.parametrize("text", ["", "Pod", "a/b", "a\n", "-a"])
def test_what_is_no_name_of_a_pod_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a Pod"):
        pod(text)
    assert pod("stub-5d9c7b6f4-x2x7k") == "stub-5d9c7b6f4-x2x7k"


@pytest.mark.parametrize("text", ["", " ", ",app=stub", "app=stub,"])
def test_a_selector_that_would_name_all_pods_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a label selector"):
        selector(text)
    assert selector("app=stub,release in (a, b)") == "app=stub,release in (a, b)"
