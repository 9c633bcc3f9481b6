"""Kubeconfigs as an agent reads them."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from certs.errors import CertificateProblem
from certs.pem import PemFile, PemText
from certs.upstream import ExecPlugin, UpstreamCredentials, read_kubeconfig
from tests.unit.certs.installation import Installation

SECRET = "hunter2"


def write(folder: Path, user: Any = None, cluster: Any = None, **more: Any) -> Path:
    """A kubeconfig with the one context `dev`; `cluster` is added to its server."""
    config: dict[str, Any] = {
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "dev", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "dev",
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(config | more))
    return path


def read(folder: Path, user: Any = None, cluster: Any = None, **more: Any) -> UpstreamCredentials:
    return read_kubeconfig(write(folder, user, cluster, **more))


def test_the_least_is_a_server(tmp_path: Path) -> None:
    assert read(tmp_path) == UpstreamCredentials(server="https://10.0.0.1:6443")


def test_embedded_data_goes_before_files(tmp_path: Path) -> None:
    data = base64.encodebytes(b"pem" * 40).decode()  # with line breaks, which Go ignores too
    found = read(
        tmp_path,
        {"client-certificate-data": data, "client-certificate": "x", "client-key-data": data},
        {"certificate-authority-data": data, "certificate-authority": "y"},
    )
    assert [source and source.read() for source in (found.ca, found.certificate, found.key)] == [
        b"pem" * 40
    ] * 3
    assert isinstance(found.ca, PemText)
    assert found.ca.name.endswith("cluster 'c': certificate-authority-data")


def test_relative_paths_start_at_the_file_s_folder(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {"client-certificate": "a.crt", "client-key": "/abs/a.key", "tokenFile": "../token"},
        {"certificate-authority": "ca.crt"},
    )
    assert found.ca == PemFile(tmp_path / "ca.crt")
    assert found.certificate == PemFile(tmp_path / "a.crt")
    assert found.key == PemFile(Path("/abs/a.key"))
    assert found.token_file == tmp_path / "../token"


def test_tokens_passwords_and_the_way_are_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {"token": SECRET, "username": "admin", "password": SECRET},
        {
            "tls-server-name": "api.internal",
            "insecure-skip-tls-verify": True,
            "proxy-url": f"http://u:{SECRET}@p",
        },
    )
    assert (found.token, found.username, found.password) == (SECRET, "admin", SECRET)
    assert (found.tls_server_name, found.insecure, found.proxy_url) == (
        "api.internal",
        True,
        f"http://u:{SECRET}@p",
    )


def test_the_name_to_verify_is_the_host_unless_another_is_given(tmp_path: Path) -> None:
    assert read(tmp_path).server_name == "10.0.0.1"
    assert read(tmp_path, None, {"tls-server-name": "kubernetes"}).server_name == "kubernetes"


def test_an_exec_plugin_is_read_whole(tmp_path: Path) -> None:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "bin/login",
        "args": ["--id", SECRET],
        "env": [{"name": "KEY", "value": SECRET}, {"name": "EMPTY"}],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
        "installHint": "see the wiki",
    }
    assert read(tmp_path, {"exec": plugin}).exec_plugin == ExecPlugin(
        command=str(tmp_path / "bin/login"),
        arguments=("--id", SECRET),
        environment=(("KEY", SECRET), ("EMPTY", "")),
        api_version="client.authentication.k8s.io/v1",
        interactive_mode="Never",
        provide_cluster_info=True,
        install_hint="see the wiki",
    )


def test_a_plugin_s_bare_name_is_left_to_path(tmp_path: Path) -> None:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": None,
        "env": None,
    }
    found = read(tmp_path, {"exec": plugin}).exec_plugin
    assert found is not None
    assert (found.command, found.interactive_mode, found.environment) == ("aws", "IfAvailable", ())


def test_no_secret_is_shown(tmp_path: Path, installation: Installation) -> None:
    key = base64.b64encode(installation.user().key_pem).decode()
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "x",
        "args": [SECRET],
        "env": [{"name": "a", "value": SECRET}],
    }
    user = {"token": SECRET, "username": "a", "password": SECRET, "client-key-data": key, "exec": plugin}
    shown = repr(read(tmp_path, user, {"proxy-url": f"http://u:{SECRET}@p"}))
    assert SECRET not in shown
    assert "PRIVATE" not in shown
    assert "10.0.0.1" in shown


@pytest.mark.parametrize("token", ["1e3", "007", "on", "2026-06-01", "0x1f", "true"])
def test_a_token_that_looks_like_something_else_stays_a_text(tmp_path: Path, token: str) -> None:
    path = write(tmp_path, {"token": "PLACE"})
    path.write_text(path.read_text().replace("PLACE", token))
    assert read_kubeconfig(path).token == token


@pytest.mark.parametrize("value", [None, "", "~"])
def test_an_empty_field_counts_as_absent(tmp_path: Path, value: str | None) -> None:
    path = write(tmp_path, {"token": "PLACE", "auth-provider": None})
    path.write_text(path.read_text().replace("PLACE", value or ""))
    assert read_kubeconfig(path).token is None


def test_a_context_is_chosen_by_name(tmp_path: Path) -> None:
    other = {"name": "prod", "context": {"cluster": "p"}}
    path = write(
        tmp_path,
        contexts=[other],
        clusters=[{"name": "p", "cluster": {"server": "http://127.0.0.1:8001"}}],
    )
    assert read_kubeconfig(path, "prod") == UpstreamCredentials(server="http://127.0.0.1:8001")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"current-context": "prod"}, "there is no context 'prod'; it has dev"),
        ({"current-context": "deb"}, r"there is no context 'deb' \(did you mean 'dev'\?\)"),
        ({"current-context": ""}, "has no current-context, and no context was given"),
        ({"contexts": []}, "there is no context 'dev'; it has none"),
        ({"contexts": "x"}, "contexts is not a list"),
        ({"contexts": ["x"]}, r"contexts\[0\] is not a mapping"),
        ({"contexts": [{"name": "dev"}]}, "context 'dev' is not a mapping"),
        ({"contexts": [{"name": "dev", "context": {"user": "u"}}]}, "context 'dev': cluster is missing"),
        ({"clusters": []}, "there is no cluster 'c'"),
        ({"users": []}, "there is no user 'u'"),
    ],
)
def test_a_part_that_is_missing_is_named(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(CertificateProblem, match=reason):
        read(tmp_path, **more)


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ({"auth-provider": {"name": "gcp"}}, "user 'u': auth-provider is not supported"),
        ({"as": "admin"}, r"user 'u': as \(impersonation\) is not supported"),
        ({"as-groups": ["admins"]}, "as-groups"),
        ({"username": "admin"}, "username and password are needed together"),
        ({"token": ["a"]}, "token is not a text"),
        ({"client-key-data": "%%%"}, "client-key-data is not base64"),
        ({"client-key-data": "ä"}, "client-key-data is not base64"),
        ({"exec": "login"}, "exec is not a mapping"),
        ({"exec": {"command": "x"}}, "exec: apiVersion is not one of client.authentication"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}, "exec: command is missing"),
    ],
)
def test_a_user_that_cannot_be_used_is_told(tmp_path: Path, user: dict[str, Any], reason: str) -> None:
    with pytest.raises(CertificateProblem, match=reason):
        read(tmp_path, user)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("interactiveMode", "Sometimes", "interactiveMode is not one of Never, IfAvailable, Always"),
        ("args", "--x", "args is not a list"),
        ("args", [["x"]], "args is not a list of texts"),
        ("env", [{"value": "x"}], r"env\[0\]: name is missing"),
        ("provideClusterInfo", "yes", "provideClusterInfo is neither true nor false"),
    ],
)
def test_a_plugin_that_cannot_be_run_is_told(tmp_path: Path, field: str, value: object, reason: str) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "x", field: value}
    with pytest.raises(CertificateProblem, match=reason):
        read(tmp_path, {"exec": plugin})


@pytest.mark.parametrize(
    "server",
    ["", "10.0.0.1:6443", "ftp://x", "https://", "https://u:p@x", "https://x?a=b", "https://x:99999"],
)
def test_a_server_that_is_no_url_is_told(tmp_path: Path, server: str) -> None:
    with pytest.raises(CertificateProblem, match="cluster 'c': server is"):
        read(tmp_path, None, {"server": server})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is not YAML: line 1"),
        (f"users:\n- token: {SECRET}: x\n", "is not YAML: line 2"),
        ("- a", "not a mapping"),
        ("", "not a mapping"),
        ("[" * 500, "nested too deeply"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
    ],
)
def test_what_is_no_kubeconfig_is_told_without_quoting_it(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(CertificateProblem, match=f"config: .*{reason}") as caught:
        read_kubeconfig(path)
    assert SECRET not in str(caught.value)


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(CertificateProblem, match="config: there is no such file"):
        read_kubeconfig(tmp_path / "config")
