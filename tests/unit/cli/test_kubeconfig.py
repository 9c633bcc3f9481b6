"""`cluster-tunnel kubeconfig`, through the command's own entry."""

import base64
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from certs.denied import deny, for_good, new_denial
from certs.lifetime import utc_now
from certs.logins import embedded_pair
from certs.store import CertificateStore
from certs.upstream import read_kubeconfig
from tunnel.cli.main import main

Output = pytest.CaptureFixture[str]
SERVER = "https://stub.example.com:8443"


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    CertificateStore(tmp_path / "ca").make_authorities(utc_now())
    return tmp_path / "ca"


def kubeconfig(ca: Path, *words: str, cluster: str = "dev", server: str = SERVER) -> int:
    return main(["kubeconfig", "alice", "--cluster", cluster, "--server", server, "--dir", str(ca), *words])


def contexts(path: Path) -> list[str]:
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    return [item["name"] for item in config["contexts"]]


def leaf(path: Path, context: str | None = None) -> x509.Certificate:
    source = read_kubeconfig(path, context).certificate
    assert source is not None
    return x509.load_pem_x509_certificate(source.read())


def test_standard_output_is_the_kubeconfig_and_nothing_else(ca: Path, tmp_path: Path, capsys: Output) -> None:
    assert kubeconfig(ca, "-g", "devs", "-g", "ops") == 0
    output = capsys.readouterr()
    assert output.err == ""
    path = tmp_path / "config"
    path.write_text(output.out)
    assert read_kubeconfig(path).server == f"{SERVER}/clusters/dev"
    assert leaf(path).subject.rfc4514_string() == "CN=alice,O=ops,O=devs"


def test_no_certificate_is_left_in_the_folder(ca: Path, capsys: Output) -> None:
    assert kubeconfig(ca) == 0
    assert not list(ca.glob("user-alice*"))


def test_the_certificate_is_short_lived_unless_asked_otherwise(ca: Path, tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig(ca, "-o", str(path))
    assert leaf(path).not_valid_after_utc - utc_now() < timedelta(hours=12)
    kubeconfig(ca, "-o", str(path), "--ttl", "30d")
    assert leaf(path).not_valid_after_utc - utc_now() > timedelta(days=29)


def test_a_written_file_is_announced_with_the_first_line_to_try(
    ca: Path, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "config"
    assert kubeconfig(ca, "-o", str(path)) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"made  {path}  context dev  until 20")
    assert f"try: kubectl --kubeconfig {path} --context dev version\n" in output.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_merging_adds_one_context_per_cluster(ca: Path, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "config"
    for cluster in ("dev", "prod", "dev"):
        assert kubeconfig(ca, "-o", str(path), "--merge", cluster=cluster) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["made", "added", "replaced"]
    assert contexts(path) == ["dev", "prod"]
    assert read_kubeconfig(path, "prod").server == f"{SERVER}/clusters/prod"


def test_the_context_s_name_can_be_given(ca: Path, tmp_path: Path) -> None:
    path = tmp_path / "config"
    assert kubeconfig(ca, "-o", str(path), "--context", "work") == 0
    assert contexts(path) == ["work"]


@pytest.mark.parametrize(
    ("words", "server", "expected"),
    [
        (["--default"], SERVER, SERVER),
        ([], "https://dev.stub.example.com", "https://dev.stub.example.com"),
        ([], "https://stub.example.com/x", "https://stub.example.com/x"),
    ],
)
def test_the_path_is_left_out_where_it_must(
    ca: Path, tmp_path: Path, words: list[str], server: str, expected: str
) -> None:
    path = tmp_path / "config"
    assert kubeconfig(ca, "-o", str(path), *words, server=server) == 0
    assert read_kubeconfig(path).server == expected


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--merge"], "--merge needs -o FILE"),
        (["--cluster", "Dev"], "--cluster: 'Dev' is not a cluster id"),
        (["--server", "stub:8443"], "--server: 'stub:8443' is not the URL of a stub"),
        (["--ttl", "soon"], "--ttl: 'soon' is not a duration"),
        (["--context", " "], "--context: ' ' is not a name for a context"),
        (["--context", ""], "--context: '' is not a name for a context"),
        (["-g", " x"], "-g: ' x' is not a group"),
        (["--what"], "--what"),
    ],
)
def test_a_wrong_call_gives_one_line_and_exit_code_2(
    ca: Path, capsys: Output, words: list[str], reason: str
) -> None:
    assert kubeconfig(ca, *words) == 2
    output = capsys.readouterr()
    assert reason in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""


def test_a_kubeconfig_that_renews_itself_has_its_first_certificate_in_the_plugin_s_environment(
    ca: Path, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "config"
    assert kubeconfig(ca, "-g", "devs", "--login", "-o", str(path)) == 0
    assert "until 20" in capsys.readouterr().out
    found = read_kubeconfig(path)
    plugin = found.exec_plugin
    assert plugin is not None
    assert (plugin.command, plugin.arguments) == ("cluster-tunnel", ("login",))
    ((name, value),) = plugin.environment
    first = embedded_pair(name, base64.b64decode(value)).certificate
    assert first.subject.rfc4514_string() == "CN=alice,O=devs"
    assert login_uris(first) == 1
    assert kubeconfig(ca, "-o", str(tmp_path / "plain")) == 0
    assert login_uris(leaf(tmp_path / "plain")) == 0, "its holder's rights end with it"
    assert found.certificate is None


def login_uris(certificate: x509.Certificate) -> int:
    """How often it says that it may be shown for another one."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return 0
    return sum(name.value.startswith("cluster-tunnel://login/") for name in names)


def test_a_kubeconfig_for_single_sign_on_names_nobody_and_holds_no_secret(
    ca: Path, tmp_path: Path, capsys: Output
) -> None:
    (ca / "user-ca.key").unlink()
    path = tmp_path / "config"
    words = ["--cluster", "dev", "--server", SERVER, "--dir", str(ca), "--login", "-o", str(path)]
    assert main(["kubeconfig", *words, "--oidc-token-command", "get-token --now"]) == 0
    assert "signs in by id-token" in capsys.readouterr().out
    plugin = read_kubeconfig(path).exec_plugin
    assert plugin is not None
    assert plugin.arguments == ("login", "--oidc-token-command", "get-token --now")
    assert plugin.environment == ()
    assert main(["kubeconfig", *words, "--oidc-token-file", "token"]) == 0
    plugin = read_kubeconfig(path).exec_plugin
    assert plugin is not None
    assert plugin.arguments == ("login", "--oidc-token-file", str(Path("token").absolute()))


def test_who_is_left_out_or_named_twice_is_told(ca: Path, capsys: Output) -> None:
    shared = ["--cluster", "dev", "--server", SERVER, "--dir", str(ca)]
    for words, reason in (
        ([], "USER is missing"),
        (["--login"], "USER is missing"),
        (["--oidc-token-file", "t"], "go with --login"),
        (["alice", "--login", "--oidc-token-file", "t"], "USER and -g are not given"),
        (["-g", "devs", "--login", "--oidc-token-file", "t"], "USER and -g are not given"),
    ):
        assert main(["kubeconfig", *words, *shared]) == 2
        assert reason in capsys.readouterr().err


def test_a_user_revoked_for_good_gets_no_kubeconfig(ca: Path, capsys: Output) -> None:
    deny(ca, [for_good(new_denial("user", "alice", utc_now()))])
    assert kubeconfig(ca) == 1
    assert "user alice, for good: revoked on" in capsys.readouterr().err


def test_a_broken_target_is_left_alone(ca: Path, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "config"
    path.write_text("a: [")
    assert kubeconfig(ca, "-o", str(path), "--merge") == 1
    assert "is not YAML and stays as it is" in capsys.readouterr().err
    assert path.read_text() == "a: ["


def test_a_missing_authority_is_named(tmp_path: Path, capsys: Output) -> None:
    assert kubeconfig(tmp_path / "nowhere") == 1
    assert "nowhere/user-ca.crt: there is no such file" in capsys.readouterr().err


def test_a_reserved_group_is_warned_about(ca: Path, capsys: Output) -> None:
    assert kubeconfig(ca, "-g", "system:masters") == 0
    assert "warning: stub and agent refuse 'system:masters'" in capsys.readouterr().err


def test_the_help_shows_an_example(capsys: Output) -> None:
    assert main(["kubeconfig", "--help"]) == 0
    assert "  cluster-tunnel kubeconfig alice --cluster prod" in capsys.readouterr().out
