"""`--lease`."""

import re
from pathlib import Path

import pytest

from stub.election.choice import FileLease, KubernetesLease, LeaseChoice, NoLease, lease, open_store
from stub.election.stores.file import FileLeaseStore
from tunnel.kit.failures import CommandFailed


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


async def test_a_file_lease_is_opened(tmp_path: Path) -> None:
    store = await open_store(FileLease(tmp_path / "lease.json"), None)
    assert isinstance(store, FileLeaseStore)
    await store.close()


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "a: [", "current-context: x\nclusters: 7\n"])
async def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CommandFailed, match=f"^--lease kubernetes:ns/name: {re.escape(str(path))}: "):
        await open_store(KubernetesLease("ns", "name"), path)


async def test_outside_a_pod_the_missing_service_account_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(CommandFailed, match="this Pod's service account: Service host/port is not set"):
        await open_store(KubernetesLease("ns", "name"), None)
