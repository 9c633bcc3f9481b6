"""Written kubeconfigs: alone, and merged into what others keep there."""

import base64
import json
import os
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from certs.errors import CertificateProblem
from certs.kubeconfig import (
    LOGIN_CERTIFICATE,
    Access,
    LoginPlugin,
    make_kubeconfig,
    merge_kubeconfig,
    server_url,
    write_kubeconfig,
)
from certs.pem import KeyPair
from certs.upstream import read_kubeconfig
from tests.unit.certs.installation import Installation

FOREIGN = """\
# a comment
apiVersion: v1
kind: Config
preferences: {colors: true}
current-context: kind
clusters:
- name: kind
  cluster: {server: 'https://127.0.0.1:6443', insecure-skip-tls-verify: true}
contexts:
- name: kind
  context: {cluster: kind, user: kind, namespace: "007"}
users:
- name: kind
  user:
    token: "1e3"
    password: 0o17
extensions:
- name: on
"""


@pytest.fixture
def access(installation: Installation) -> Access:
    return access_to(installation)


def access_to(
    installation: Installation, context: str = "dev", server: str = "https://stub.example.com/clusters/dev"
) -> Access:
    return Access(context, server, installation.store.authority_pem("server-ca"), installation.user())


def load(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def entry(config: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in config[key] if item["name"] == name)
    return found[key.removesuffix("s")]  # type: ignore[no-any-return]


# URLs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "default", "expected"),
    [
        ("https://stub.example.com", False, "https://stub.example.com/clusters/dev"),
        ("https://stub.example.com:8443/", False, "https://stub.example.com:8443/clusters/dev"),
        ("https://[::1]:8443", False, "https://[::1]:8443/clusters/dev"),
        ("https://stub.example.com/k8s/dev/", False, "https://stub.example.com/k8s/dev"),
        ("https://dev.stub.example.com", False, "https://dev.stub.example.com"),
        ("https://DEV.stub.example.com", False, "https://DEV.stub.example.com"),
        ("https://dev2.stub.example.com", False, "https://dev2.stub.example.com/clusters/dev"),
        ("https://stub.example.com/", True, "https://stub.example.com"),
    ],
)
def test_the_cluster_s_path_is_appended_where_nothing_names_the_cluster(
    url: str, default: bool, expected: str
) -> None:
    assert server_url(url, "dev", default=default) == expected


@pytest.mark.parametrize(
    "url",
    [
        "stub.example.com:8443",
        "http://stub",
        "https://",
        "https://u:p@stub",
        "https://stub?x=1",
        "https://stub:x",
    ],
)
def test_what_is_no_stub_s_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a stub"):
        server_url(url, "dev")


# Alone -----------------------------------------------------------------------------------------


def test_a_kubeconfig_holds_one_context_with_everything_embedded(access: Access) -> None:
    config = load(make_kubeconfig(access))
    assert (config["apiVersion"], config["kind"], config["current-context"]) == ("v1", "Config", "dev")
    cluster, user = (
        entry(config, "clusters", "cluster-tunnel-dev"),
        entry(config, "users", "cluster-tunnel-dev"),
    )
    assert cluster["server"] == access.server
    assert base64.b64decode(cluster["certificate-authority-data"]) == access.authority_pem
    assert isinstance(access.credential, KeyPair)
    assert base64.b64decode(user["client-certificate-data"]) == access.credential.certificate_pem
    assert base64.b64decode(user["client-key-data"]) == access.credential.key_pem


def test_it_is_read_back_as_it_was_meant(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, access, merge=False)
    found = read_kubeconfig(path)
    assert found.server == access.server
    assert found.certificate is not None
    assert isinstance(access.credential, KeyPair)
    assert found.certificate.read() == access.credential.certificate_pem


@pytest.mark.parametrize(
    "name", ["1e3", "007", "yes", "n", "null", "2026-06-01", "a b", "ümlaut", "a: b", "'", '"']
)
def test_a_name_that_looks_like_something_else_stays_a_text(installation: Installation, name: str) -> None:
    config = load(make_kubeconfig(access_to(installation, context=name)))
    assert config["current-context"] == config["contexts"][0]["name"] == name


def test_a_new_file_is_its_owner_s_alone(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "config"
    assert write_kubeconfig(path, access, merge=False) == "made"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["config"]


def test_writing_again_renews_the_certificate(installation: Installation, tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, access_to(installation), merge=False)
    before = path.read_text()
    assert write_kubeconfig(path, access_to(installation), merge=False) == "replaced"
    assert path.read_text() != before


def test_other_contexts_are_not_thrown_away_without_merge(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(FOREIGN)
    with pytest.raises(
        CertificateProblem, match=r"config: holds other contexts \(kind\); --merge keeps them"
    ):
        write_kubeconfig(path, access, merge=False)
    assert path.read_text() == FOREIGN


# With a plugin ---------------------------------------------------------------------------------


def test_a_plugin_gets_its_first_certificate_by_the_environment_alone(
    access: Access, installation: Installation
) -> None:
    pair = installation.user()
    config = load(make_kubeconfig(replace(access, credential=LoginPlugin(first=pair))))
    (plugin,) = entry(config, "users", "cluster-tunnel-dev").values()
    assert (plugin["command"], plugin["args"]) == ("cluster-tunnel", ["login"])
    assert (plugin["provideClusterInfo"], plugin["interactiveMode"]) == (True, "Never")
    (variable,) = plugin["env"]
    assert variable["name"] == LOGIN_CERTIFICATE
    assert base64.b64decode(variable["value"]) == pair.certificate_pem + pair.key_pem


def test_a_plugin_that_signs_in_otherwise_holds_no_secret(access: Access, tmp_path: Path) -> None:
    plugin = LoginPlugin(("--oidc-token-command", "get-token --now"), interactive=True)
    write_kubeconfig(tmp_path / "config", replace(access, credential=plugin), merge=False)
    found = read_kubeconfig(tmp_path / "config").exec_plugin
    assert found is not None
    assert found.arguments == ("login", "--oidc-token-command", "get-token --now")
    assert (found.environment, found.interactive_mode) == ((), "IfAvailable")
    assert found.provide_cluster_info
    assert "PRIVATE" not in (tmp_path / "config").read_text()


def test_merging_a_plugin_takes_the_embedded_certificate_away(access: Access) -> None:
    before = make_kubeconfig(access).encode()
    text, outcome = merge_kubeconfig(before, replace(access, credential=LoginPlugin()), "config")
    assert outcome == "replaced"
    assert list(entry(load(text), "users", "cluster-tunnel-dev")) == ["exec"]


# Merged ----------------------------------------------------------------------------------------


def test_merging_keeps_everything_else(access: Access) -> None:
    text, outcome = merge_kubeconfig(FOREIGN.encode(), access, "config")
    assert outcome == "added"
    merged, before = load(text), load(FOREIGN)
    for key in ("clusters", "contexts", "users"):
        assert merged[key].pop()["name"] in ("dev", "cluster-tunnel-dev")
    assert merged == before


def test_merging_keeps_how_scalars_are_spelt(access: Access) -> None:
    text, _ = merge_kubeconfig(FOREIGN.encode(), access, "config")
    for spelt in ('"007"', '"1e3"', "0o17", "name: on\n", "'https://127.0.0.1:6443'"):
        assert spelt in text


def test_a_second_cluster_gets_a_context_of_its_own(installation: Installation) -> None:
    text, _ = merge_kubeconfig(
        make_kubeconfig(access_to(installation)).encode(), access_to(installation, "prod"), "x"
    )
    config = load(text)
    assert [item["name"] for item in config["contexts"]] == ["dev", "prod"]
    assert config["current-context"] == "dev"


def test_renewing_replaces_credentials_and_keeps_what_was_added_by_hand(installation: Installation) -> None:
    config = load(make_kubeconfig(access_to(installation)))
    entry(config, "contexts", "dev")["namespace"] = "team-a"
    cluster = entry(config, "clusters", "cluster-tunnel-dev")
    cluster |= {"proxy-url": "http://proxy:3128", "insecure-skip-tls-verify": True}
    entry(config, "users", "cluster-tunnel-dev")["token"] = "old"
    renewed = access_to(installation, server="https://new.example.com/clusters/dev")
    text, outcome = merge_kubeconfig(yaml.safe_dump(config).encode(), renewed, "config")
    result = load(text)
    assert outcome == "replaced"
    assert entry(result, "contexts", "dev")["namespace"] == "team-a"
    cluster = entry(result, "clusters", "cluster-tunnel-dev")
    assert set(cluster) == {"certificate-authority-data", "server", "proxy-url"}
    assert cluster["server"] == renewed.server
    assert set(entry(result, "users", "cluster-tunnel-dev")) == {"client-certificate-data", "client-key-data"}
    assert len(result["users"]) == len(result["clusters"]) == len(result["contexts"]) == 1


def test_a_context_of_the_same_name_that_leads_elsewhere_is_not_taken_over(
    installation: Installation,
) -> None:
    with pytest.raises(
        CertificateProblem, match="config: has a context 'kind' that leads elsewhere; --context"
    ):
        merge_kubeconfig(FOREIGN.encode(), access_to(installation, "kind"), "config")


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "clusters: null\ncontexts: []\n", "current-context: ''\n", "{}"]
)
def test_merging_into_an_empty_file_makes_it_whole(access: Access, text: str) -> None:
    config = load(merge_kubeconfig(text.encode(), access, "config")[0])
    assert config["current-context"] == "dev"
    assert len(config["clusters"]) == len(config["users"]) == len(config["contexts"]) == 1


def test_a_json_kubeconfig_can_be_merged_into(access: Access) -> None:
    text, _ = merge_kubeconfig(json.dumps(load(FOREIGN)).encode(), access, "config")
    assert [item["name"] for item in load(text)["contexts"]] == ["kind", "dev"]


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "\tx: 1",
        "- a\n- b\n",
        "kind: Pod\n",
        "kind: [Config]\n",
        "contexts: {a: b}\n",
        "contexts: [a]\n",
        "a: 1\n---\nb: 2\n",
        "\udcff",
        "[" * 500,
    ],
)
@pytest.mark.parametrize("merge", [True, False])
def test_a_broken_file_stays_as_it_is(access: Access, tmp_path: Path, text: str, merge: bool) -> None:
    path = tmp_path / "config"
    content = text.encode(errors="surrogateescape")
    path.write_bytes(content)
    with pytest.raises(CertificateProblem, match=r"config: is not .* stays as it is"):
        write_kubeconfig(path, access, merge=merge)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["config"]


def test_a_yaml_error_quotes_no_secret(access: Access) -> None:
    with pytest.raises(CertificateProblem) as caught:
        merge_kubeconfig(b"users:\n- token: hunter2: x\n", access, "config")
    assert "line 2" in str(caught.value)
    assert "hunter2" not in str(caught.value)


# Files -----------------------------------------------------------------------------------------


def test_a_link_stays_a_link(access: Access, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "config"
    real.write_text(FOREIGN)
    link.symlink_to(real)
    write_kubeconfig(link, access, merge=True)
    assert link.is_symlink()
    assert "cluster-tunnel-dev" in real.read_text()


def test_a_link_to_nowhere_and_a_folder_are_named(access: Access, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(CertificateProblem, match=r"link: is a link to .*gone, which does not exist"):
        write_kubeconfig(tmp_path / "link", access, merge=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(CertificateProblem, match="loop: is a link to"):
        write_kubeconfig(tmp_path / "loop", access, merge=True)
    with pytest.raises(CertificateProblem, match="is not a regular file"):
        write_kubeconfig(tmp_path, access, merge=False)
    with pytest.raises(CertificateProblem, match="cannot be written: No such file or directory"):
        write_kubeconfig(tmp_path / "missing" / "config", access, merge=False)


def test_kubectl_s_lock_is_respected(access: Access, tmp_path: Path) -> None:
    lock = tmp_path / "config.lock"
    lock.touch()
    with pytest.raises(CertificateProblem, match=r"config\.lock: somebody writes"):
        write_kubeconfig(tmp_path / "config", access, merge=True)
    assert not (tmp_path / "config").exists()
    assert lock.exists()


# kubectl ---------------------------------------------------------------------------------------


def kubectl(*words: str) -> str:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("there is no kubectl on PATH")
    result = subprocess.run([program, *words], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.kubectl
def test_kubectl_reads_a_written_file(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, access, merge=False)
    shown = load(kubectl("--kubeconfig", str(path), "config", "view", "--minify", "--raw"))
    assert entry(shown, "clusters", "cluster-tunnel-dev") == entry(
        load(path.read_text()), "clusters", "cluster-tunnel-dev"
    )
    assert entry(shown, "users", "cluster-tunnel-dev") == entry(
        load(path.read_text()), "users", "cluster-tunnel-dev"
    )


@pytest.mark.kubectl
def test_kubectl_sees_old_and_new_contexts_of_a_merged_file(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(FOREIGN.replace("0o17", "'0o17'").replace("name: on", "name: 'on'\n  extension: {}"))
    write_kubeconfig(path, access, merge=True)
    names = kubectl("--kubeconfig", str(path), "config", "get-contexts", "-o", "name")
    assert set(names.split()) == {"kind", "dev"}
    shown = load(kubectl("--kubeconfig", str(path), "config", "view", "--raw"))
    assert entry(shown, "users", "kind") == {"token": "1e3", "password": "0o17"}
    assert entry(shown, "contexts", "kind")["namespace"] == "007"


@pytest.mark.kubectl
@pytest.mark.parametrize("name", ["1e3", "007", "y", "0x1f"])
def test_kubectl_finds_a_context_whose_name_looks_like_a_number(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, access_to(installation, context=name), merge=False)
    assert kubectl("--kubeconfig", str(path), "config", "current-context").strip() == name
    assert f"cluster-tunnel-{name}" in kubectl("--kubeconfig", str(path), "config", "get-contexts", name)
