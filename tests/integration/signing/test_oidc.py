"""Signing in by id-token, against an issuer that is a process of its own."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certs.csr import make_key, make_request
from certs.peer import user_names
from certs.pem import PemText, read_certificates
from certs.signed import LOGIN
from stub.server import serve
from stub.settings import StubSettings
from stub.signing import oidc
from stub.signing.endpoints import SigningEndpoints
from stub.signing.opening import open_signing, open_standing
from tests.integration.signing.issuer import CONFIGURATION, Issuer, issuing
from tests.integration.waiting import soon, until
from tests.unit.certs.id_tokens import IssuerKey
from tests.unit.certs.installation import Installation, der_of
from tunnel.kit.values import Address

KEY, NEXT = IssuerKey("first"), IssuerKey("second", "RS256")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation.make(tmp_path / "ca")


@pytest.fixture
def issuer(tmp_path: Path, installation: Installation) -> Iterator[Issuer]:
    folder = tmp_path / "issuer"
    folder.mkdir()
    for name in ("server.crt", "server.key"):
        shutil.copy(installation.path(name), folder)
    with issuing(folder) as issuer:
        issuer.publish(KEY)
        yield issuer


def claims(issuer: Issuer, **more: Any) -> dict[str, Any]:
    return {"iss": issuer.url, "aud": "kubectl", "exp": time.time() + 300, "sub": "alice", **more}


def oidc_settings(installation: Installation, issuer: Issuer, **more: Any) -> StubSettings:
    return StubSettings(
        **{
            "ca_dir": installation.store.folder,
            "oidc_issuer": issuer.url,
            "oidc_audience": ("kubectl",),
            "oidc_ca": installation.path("server-ca.crt"),
            **more,
        }
    )


def endpoints(installation: Installation, issuer: Issuer, **more: Any) -> SigningEndpoints:
    settings = oidc_settings(installation, issuer, **more)
    return open_signing(settings, open_standing(settings))


async def login(signing: SigningEndpoints, token: str) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"request": make_request(make_key()).decode(), "idToken": token}).encode()
    status, _, text = await signing.answer(b"POST", LOGIN.encode(), body, None, "192.0.2.1")
    return status, json.loads(text)


async def test_a_token_of_the_issuer_becomes_a_certificate(
    installation: Installation, issuer: Issuer
) -> None:
    signing = endpoints(installation, issuer)
    status, answer = await login(signing, KEY.sign(claims(issuer, groups=["devs"])))
    assert status == 200, answer
    (certificate,) = read_certificates(PemText("certificate", answer["certificate"].encode()))
    settings = StubSettings(ca_dir=installation.store.folder)
    peer = open_standing(settings).read(der_of(certificate))
    assert user_names(peer) == ("oidc:alice", ("oidc:devs",))
    assert peer.renewable_until is not None
    assert peer.renewable_until <= time.time()
    assert issuer.asked == [CONFIGURATION, "/keys"]


async def test_a_stub_has_the_keys_before_anybody_signs_in_and_ends_without_waiting_for_the_next(
    installation: Installation, issuer: Issuer
) -> None:
    stopping, listen = asyncio.Event(), Address("127.0.0.1", 0)
    settings = oidc_settings(installation, issuer, listen=listen, admin_listen=None)
    serving = asyncio.get_running_loop().create_task(serve(settings, stopping))
    await until(lambda: issuer.asked == [CONFIGURATION, "/keys"])
    stopping.set()
    await soon(serving)


async def test_the_issuer_s_next_key_is_found_when_a_token_is_signed_with_it(
    installation: Installation, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "AGAIN_SECONDS", 0.0)
    signing = endpoints(installation, issuer)
    assert (await login(signing, KEY.sign(claims(issuer))))[0] == 200
    issuer.publish(NEXT)
    assert (await login(signing, NEXT.sign(claims(issuer))))[0] == 200
    status, answer = await login(signing, KEY.sign(claims(issuer)))
    assert status == 401
    assert "does not publish" in answer["message"]


async def test_a_forged_an_expired_and_a_foreign_token_are_refused(
    installation: Installation, issuer: Issuer
) -> None:
    signing = endpoints(installation, issuer)
    for token, reason in (
        (IssuerKey("first").sign(claims(issuer)), "signature is wrong"),
        (KEY.sign(claims(issuer, exp=time.time() - 100)), "expired 100 s ago"),
        (KEY.sign(claims(issuer, aud="another-app")), "another audience"),
        (KEY.sign(claims(issuer, iss="https://localhost")), "another issuer"),
    ):
        status, answer = await login(signing, token)
        assert (status, reason in answer["message"]) == (401, True), answer


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"groups": ["system:masters"]}, "'system:masters' is reserved"),
        ({"sub": "system:admin"}, "'system:admin' is reserved"),
        ({"sub": "a" * 65}, "longer than 64 characters"),
        ({"sub": "alice\nImpersonate-User: root"}, "a control character"),
    ],
)
async def test_no_directory_makes_a_part_of_the_cluster(
    installation: Installation, issuer: Issuer, more: dict[str, Any], reason: str
) -> None:
    signing = endpoints(
        installation,
        issuer,
        oidc_username_prefix=None,
        oidc_groups_prefix=None,
        allow_groups=("system:masters",),
    )
    status, answer = await login(signing, KEY.sign(claims(issuer, **more)))
    assert (status, reason in answer["message"]) == (403, True), answer


async def test_an_issuer_that_is_not_verified_or_not_there_signs_nobody_in(
    installation: Installation, issuer: Issuer, tmp_path: Path
) -> None:
    other = Installation.make(tmp_path / "other").path("server-ca.crt")
    status, answer = await login(endpoints(installation, issuer, oidc_ca=other), KEY.sign(claims(issuer)))
    assert (status, "certificate is refused" in answer["message"]) == (503, True)
    gone = Issuer(tmp_path, 1)
    status, answer = await login(
        endpoints(installation, issuer, oidc_issuer=gone.url), KEY.sign(claims(gone))
    )
    assert (status, "cannot be asked for its keys" in answer["message"]) == (503, True)
