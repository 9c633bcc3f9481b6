"""`cluster-tunnel login`, through the command's own entry, against a stub's endpoints without sockets."""

import base64
import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certs.call import Answer
from certs.issue import issue_user
from certs.kubeconfig import LOGIN_CERTIFICATE
from certs.lifetime import Lifetime, utc_now
from certs.logins import LoginCache
from certs.pem import KeyPair, PemText, read_pair
from certs.signed import LOGIN
from tests.unit.certs.installation import FAR, Installation, der, write_pair
from tests.unit.stub.signing.desk import Desk
from tunnel.cli import login as module
from tunnel.cli import signin
from tunnel.cli.main import main
from tunnel.cli.signin import SignIn, token_from_command, token_from_file
from tunnel.kit.failures import CommandFailed

Output = pytest.CaptureFixture[str]
SERVER = "https://stub.example.com:8443/clusters/prod"


class Scene:
    """A user with a kubeconfig, and the stub it leads to."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installation = Installation.make(tmp_path / "ca")
        self.desk = Desk(self.installation)
        self.cache = tmp_path / "cache"
        self.calls: list[SignIn] = []
        self.failure: str | None = None
        self._patch = monkeypatch

        async def call(sign_in: SignIn, body: bytes, shown: KeyPair | None) -> Answer:
            return await self._call(sign_in, body, shown)

        monkeypatch.setattr(SignIn, "_call", call)
        monkeypatch.setenv("XDG_CACHE_HOME", str(self.cache))
        monkeypatch.delenv(LOGIN_CERTIFICATE, raising=False)
        self.told()

    def told(self, version: str = "v1", **cluster: Any) -> None:
        """What kubectl tells of the cluster."""
        authority = base64.b64encode(self.installation.path("server-ca.crt").read_bytes()).decode()
        spec = {"cluster": {"server": SERVER, "certificate-authority-data": authority, **cluster}}
        text = {
            "apiVersion": f"client.authentication.k8s.io/{version}",
            "kind": "ExecCredential",
            "spec": spec,
        }
        self._patch.setenv(module.INFORMATION, json.dumps(text))

    def given(self, pair: KeyPair) -> None:
        """The certificate in the kubeconfig."""
        text = base64.b64encode(pair.certificate_pem + pair.key_pem).decode()
        self._patch.setenv(LOGIN_CERTIFICATE, text)

    async def _call(self, sign_in: SignIn, body: bytes, shown: KeyPair | None) -> Answer:
        self.calls.append(sign_in)
        if self.failure is not None:
            raise CommandFailed(self.failure)
        certificate = None if shown is None else der(shown)
        status, _, text = await self.desk.endpoints.answer(
            b"POST", LOGIN.encode(), body, certificate, "192.0.2.1"
        )
        return Answer(status, text)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def login(capsys: Output, *words: str) -> dict[str, Any]:
    """Run it and return what it prints."""
    assert main(["login", *words]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def leaf(credential: dict[str, Any]) -> x509.Certificate:
    status = credential["status"]
    pair = read_pair(
        PemText("certificate", status["clientCertificateData"].encode()),
        PemText("key", status["clientKeyData"].encode()),
    )
    return pair.certificate


def aged(scene: Scene, part: float, days: float = 3) -> KeyPair:
    """A certificate of alice of which this part is over."""
    pair = scene.installation.user("alice", ("devs",), days=days)
    scene._patch.setattr(module, "utc_now", lambda: utc_now() + timedelta(days=days * part))
    return pair


# What it prints --------------------------------------------------------------------------------


def test_the_certificate_in_the_kubeconfig_is_used_until_two_thirds_are_over(
    scene: Scene, capsys: Output
) -> None:
    pair = aged(scene, 0.6)
    scene.given(pair)
    credential = login(capsys)
    assert (credential["kind"], credential["apiVersion"]) == (
        "ExecCredential",
        "client.authentication.k8s.io/v1",
    )
    assert leaf(credential) == pair.certificate
    expires = datetime.fromisoformat(credential["status"]["expirationTimestamp"])
    assert pair.certificate.not_valid_after_utc - expires == timedelta(seconds=30)
    assert scene.calls == []


def test_then_it_renews_itself_and_is_kept_for_the_next_run(scene: Scene, capsys: Output) -> None:
    pair = aged(scene, 0.7)
    scene.given(pair)
    scene._patch.setattr(module, "utc_now", utc_now)
    scene._patch.setattr(signin, "is_fresh", lambda each, now: each.certificate != pair.certificate)
    first = leaf(login(capsys))
    assert first != pair.certificate
    assert first.subject.rfc4514_string() == "CN=alice,O=devs"
    scene._patch.setattr(SignIn, "_best", lambda self, now: self.cache.read())
    assert leaf(login(capsys)) == first
    assert len(scene.calls) == 1
    assert (scene.calls[0].stub.host, scene.calls[0].stub.port) == ("stub.example.com", 8443)


def test_a_stub_that_is_away_is_no_trouble_while_the_certificate_lasts(scene: Scene, capsys: Output) -> None:
    pair = aged(scene, 0.9)
    scene.given(pair)
    scene.failure = "the stub at stub.example.com:8443: refused"
    assert main(["login"]) == 0
    output = capsys.readouterr()
    assert leaf(json.loads(output.out)) == pair.certificate
    assert output.err.startswith(
        "warning: the stub at stub.example.com:8443: refused; the certificate that is"
    )


def test_an_expired_certificate_ends_with_one_line_that_says_what_to_do(scene: Scene, capsys: Output) -> None:
    scene.given(aged(scene, 1.1))
    assert main(["login"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "there is no certificate that could renew itself; the one in the kubeconfig ended on" in output.err
    assert output.err.count("\n") == 1


def test_the_stub_s_refusal_is_shown_in_its_own_words(scene: Scene, capsys: Output, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a.b.c")
    assert main(["login", "--oidc-token-file", str(token)]) == 1
    error = capsys.readouterr().err
    assert (
        "the stub at stub.example.com:8443 refuses the sign-in: stub: this stub takes no id-tokens" in error
    )


def test_kubectl_is_answered_in_the_version_it_asks_for(scene: Scene, capsys: Output) -> None:
    scene.given(aged(scene, 0.1))
    scene.told("v1beta1")
    assert login(capsys)["apiVersion"] == "client.authentication.k8s.io/v1beta1"
    scene.told("v1alpha1")
    assert main(["login"]) == 1
    assert "asks for 'client.authentication.k8s.io/v1alpha1'" in capsys.readouterr().err


def test_it_can_be_run_by_hand(
    scene: Scene, capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(module.INFORMATION)
    files = write_pair(tmp_path, "alice", aged(scene, 0.1))
    words = ["--server", SERVER, "--ca", str(scene.installation.path("server-ca.crt"))]
    words += ["--cert", str(files.certificate), "--key", str(files.key), "--cache", str(tmp_path / "c")]
    assert leaf(login(capsys, *words)) == files.read().certificate


def test_another_kubeconfig_has_another_certificate(scene: Scene, capsys: Output) -> None:
    pairs = [scene.installation.user(name) for name in ("alice", "bob")]
    found = []
    for pair in pairs:
        scene.given(pair)
        scene._patch.setattr(signin, "is_fresh", lambda each, now: False)
        found.append(leaf(login(capsys)).subject.rfc4514_string())
    assert found == ["CN=alice", "CN=bob"]
    assert len(list((scene.cache / "cluster-tunnel").glob("*.pem"))) == 2


def test_a_first_certificate_that_outlives_the_next_ones_is_renewed_once(
    scene: Scene, capsys: Output
) -> None:
    """As `kubeconfig --login --ttl 30d` from its 20th day on: the next ones last 12 hours, and are fresh."""
    authority = scene.installation.store.authority("user-ca")
    now = utc_now()
    life = Lifetime(now - timedelta(days=21), now + timedelta(days=9))
    scene.given(issue_user(authority, "alice", [], life, renewable_until=FAR))
    found = [leaf(login(capsys)) for _ in range(5)]
    assert len(scene.calls) == 1
    assert len(set(found)) == 1
    assert found[0].not_valid_after_utc < life.not_after


def test_a_fresh_certificate_waits_for_nobody(
    scene: Scene, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.given(aged(scene, 0.1))
    monkeypatch.setattr(fcntl, "flock", lambda *_: pytest.fail("somebody else was waited for"))
    login(capsys)


def test_who_waited_takes_what_the_other_one_got(
    scene: Scene, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.given(aged(scene, 0.9))
    other, locked = scene.installation.user("alice", days=9), LoginCache.locked

    @contextmanager
    def signed_in_by_another(cache: LoginCache) -> Iterator[None]:
        with locked(cache):
            cache.write(other, utc_now())
            yield

    monkeypatch.setattr(LoginCache, "locked", signed_in_by_another)
    assert leaf(login(capsys)) == other.certificate
    assert scene.calls == []


@pytest.mark.parametrize(
    ("words", "told", "environment", "proxy"),
    [
        ((), {}, {}, None),
        ((), {}, {"HTTPS_PROXY": "http://env:3128"}, "http://env:3128"),
        ((), {}, {"HTTPS_PROXY": "http://env:3128", "NO_PROXY": ".example.com"}, None),
        ((), {"server": "https://localhost:8443"}, {"HTTPS_PROXY": "http://env:3128"}, None),
        (
            (),
            {"proxy-url": "https://told"},
            {"HTTPS_PROXY": "http://env:3128", "NO_PROXY": "*"},
            "https://told:443",
        ),
        (("--proxy", "http://ann:secret@flag:8080"), {"proxy-url": "http://told"}, {}, "http://flag:8080"),
        (("--proxy", "off"), {"proxy-url": "http://told"}, {"HTTPS_PROXY": "http://env:3128"}, None),
    ],
    ids=["none", "environment", "excepted", "local", "kubeconfig", "flag", "off"],
)
def test_the_stub_is_reached_by_the_proxy_that_kubectl_asks(
    scene: Scene,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: dict[str, str],
    environment: dict[str, str],
    proxy: str | None,
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    scene.told(**told)
    scene.given(aged(scene, 0.9))
    login(capsys, *words)
    (called,) = scene.calls
    assert (str(called.proxy) if called.proxy else None) == proxy
    assert called.proxy is None or (called.proxy.authorization() is not None) == ("@" in "".join(words))


@pytest.mark.parametrize(
    ("words", "environment", "code", "reason"),
    [
        ([], {module.INFORMATION: ""}, 2, "--server is missing"),
        (["--server", SERVER], {module.INFORMATION: ""}, 2, "--ca is missing"),
        (["--server", "http://stub"], {}, 2, "--server: 'http://stub' is not the URL of a stub"),
        (["--server", "https://stub:x"], {}, 2, "is not the URL of a stub"),
        (["--cert", "x"], {}, 2, "--cert and --key go together"),
        (["--oidc-token-command", " "], {}, 2, "--oidc-token-command is empty"),
        (["--oidc-token-command", "'"], {}, 2, "--oidc-token-command: No closing quotation"),
        (["--proxy", "socks5://p:1"], {}, 2, "--proxy: a socks5 proxy is not supported"),
        ([], {"HTTPS_PROXY": "socks5://p:1"}, 2, "HTTPS_PROXY: a socks5 proxy is not supported"),
        ([], {module.INFORMATION: "{"}, 1, "is not an ExecCredential"),
        ([], {LOGIN_CERTIFICATE: "!"}, 1, f"{LOGIN_CERTIFICATE} is not base64"),
        ([], {LOGIN_CERTIFICATE: "eA=="}, 1, f"{LOGIN_CERTIFICATE}: is not PEM"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(
    scene: Scene,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    environment: dict[str, str],
    code: int,
    reason: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["login", *words]) == code
    output = capsys.readouterr()
    assert reason in output.err
    assert (output.err.count("\n"), output.out) == (1, "")


# Id-tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["a.b.c", " a.b.c\n", json.dumps({"kind": "ExecCredential", "status": {"token": "a.b.c"}})]
)
def test_a_token_comes_alone_or_in_a_credential(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    assert token_from_file(tmp_path / "token") == "a.b.c"
    code = f"import sys; sys.stdout.write({text!r})"
    assert token_from_command(f"{sys.executable} -c {json.dumps(code)}") == "a.b.c"


@pytest.mark.parametrize(
    "text", ["", "abc", "{}", '{"status": 1}', '{"status": {"token": 5}}', "a.b. c", "ä.b.c"]
)
def test_what_is_no_token_is_told_without_being_repeated(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(CommandFailed, match=r"token: holds no id-token$"):
        token_from_file(tmp_path / "token")


def test_a_command_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandFailed, match="--oidc-token-command no-such-program: No such file"):
        token_from_command("no-such-program --flag secret")
    with pytest.raises(CommandFailed, match="failed with exit code 3"):
        token_from_command(f"{sys.executable} -c 'raise SystemExit(3)'")
    monkeypatch.setattr(signin, "COMMAND_SECONDS", 0.01)
    with pytest.raises(CommandFailed, match=r"took longer than 0\.01 s"):
        token_from_command(f"{sys.executable} -c 'import threading; threading.Event().wait()'")
