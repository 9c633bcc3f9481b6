"""Where a stub's name leads to, and what a proxy is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.dialling import road
from agent.dialling.proxyrules import ProxyUrl
from agent.dialling.road import REREAD_SECONDS, CredentialsFile, Endpoint, Road
from agent.settings import AgentSettings
from tests.unit.fakes import Clock
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address

STUB = Address("stub.example.com", 8443)
FILE = Path("f")

Make = Callable[..., Road]


@pytest.fixture
async def make(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Make:
    async def resolve(host: str, port: int, deadline: float) -> tuple[str, ...]:
        assert deadline == clock.now + 10
        return ("192.0.2.1", "2001:db8::1")

    monkeypatch.setattr(road, "resolve", resolve)
    return lambda **more: Road(AgentSettings(stub=(STUB,), cert=FILE, key=FILE, ca=FILE, **more))


async def test_every_address_is_an_endpoint_with_the_name_to_verify(make: Make) -> None:
    assert await make().endpoints(STUB) == (
        Endpoint(Address("192.0.2.1", 8443), "stub.example.com"),
        Endpoint(Address("2001:db8::1", 8443), "stub.example.com"),
    )


async def test_a_proxy_gets_the_name_itself(make: Make) -> None:
    found = await make(proxy=ProxyUrl("proxy", 3128)).endpoints(STUB)
    assert found == (Endpoint(STUB, "stub.example.com", by_proxy=True),)
    assert str(found[0]) == "stub.example.com:8443 by proxy"


def test_an_endpoint_is_shown_with_the_name_that_led_to_it() -> None:
    assert str(Endpoint(Address("192.0.2.1", 8443), "stub.io")) == "stub.io at 192.0.2.1:8443"
    assert str(Endpoint(Address("192.0.2.1", 8443), "192.0.2.1")) == "192.0.2.1:8443"


async def test_a_stub_that_needs_no_proxy_is_dialled_directly(make: Make) -> None:
    direct = make(proxy=ProxyUrl("proxy", 3128), no_proxy=("example.com",))
    assert not any(endpoint.by_proxy for endpoint in await direct.endpoints(STUB))
    assert not any(endpoint.by_proxy for endpoint in await make(proxy="off").endpoints(STUB))


async def test_a_dial_goes_to_the_endpoint_and_verifies_the_name(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dials: list[tuple[Any, ...]] = []

    async def dial_tls(host: str, port: int, context: object, **more: Any) -> None:
        dials.append((host, port, more["server_hostname"], more["require_alpn"], str(more["via"])))

    monkeypatch.setattr(road, "dial_tls", dial_tls)
    way = make(proxy=ProxyUrl("proxy", 3128))
    for by_proxy in (False, True):
        endpoint = Endpoint(Address("192.0.2.1", 8443), "stub", by_proxy)
        await way.dial(endpoint, None, lambda: None, "alpn")  # type: ignore[arg-type,return-value]
    assert dials == [
        ("192.0.2.1", 8443, "stub", "alpn", "None"),
        ("192.0.2.1", 8443, "stub", "alpn", "http://proxy:3128"),
    ]


async def test_credentials_are_read_again_when_they_change_and_kept_while_they_are_wrong(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "credentials"
    path.write_text("ann:ge:heim\n")
    credentials = CredentialsFile(path)
    assert credentials() == b"Basic YW5uOmdlOmhlaW0="
    for content in ("", "ann", "ann:x\ny", ":x"):
        path.write_text(content)
        await clock.advance(REREAD_SECONDS)
        assert credentials() == b"Basic YW5uOmdlOmhlaW0="
    path.write_text("ann:neu")
    await clock.advance(REREAD_SECONDS)
    assert credentials() == b"Basic YW5uOm5ldQ=="


@pytest.mark.parametrize("content", [None, "", "no-colon", ":password"])
async def test_a_file_without_credentials_ends_the_agent_and_is_not_repeated(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "credentials"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CommandFailed, match="credentials: ") as caught:
        CredentialsFile(path)
    assert not content or content not in str(caught.value)
