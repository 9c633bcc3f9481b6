"""Proxies and the hosts without, read as Go reads them."""

import pytest

from agent.dialling.proxyrules import NoProxy, ProxyUrl, no_proxy_from, proxy_form, proxy_from
from tunnel.kit.failures import UsageError
from tunnel.kit.values import Address


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.corp:3128", ProxyUrl("proxy.corp", 3128)),
        ("proxy.corp:3128", ProxyUrl("proxy.corp", 3128)),
        ("http://proxy.corp", ProxyUrl("proxy.corp", 80)),
        ("https://proxy.corp/", ProxyUrl("proxy.corp", 443, tls=True)),
        ("http://[fd00::1]:8080", ProxyUrl("fd00::1", 8080)),
        ("http://ann:p%40ss@proxy.corp:1", ProxyUrl("proxy.corp", 1, username="ann", password="p@ss")),
    ],
)
def test_a_url_is_read(text: str, proxy: ProxyUrl) -> None:
    assert proxy_form(text) == proxy


@pytest.mark.parametrize(
    "text", ["socks5://ann:geheim@p:1", "http://ann:geheim@p:99999", "http://ann:geheim@"]
)
def test_a_wrong_url_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"give one such as http://proxy\.example\.com:3128") as caught:
        proxy_form(text)
    assert "geheim" not in str(caught.value)


def test_a_password_is_shown_nowhere_and_sent_as_basic() -> None:
    proxy = ProxyUrl("p", 1, username="ann", password="geheim")
    assert str(proxy) == proxy_form.write(proxy) == "http://ann:<hidden>@p:1"
    assert "geheim" not in repr(proxy)
    assert proxy.basic == b"Basic YW5uOmdlaGVpbQ=="
    assert ProxyUrl("p", 1).basic is None


# The table of golang.org/x/net/http/httpproxy's own tests, as far as it can concern a stub.
@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("barbaz.net", True),
        ("www.barbaz.net", True),
        ("foobar.com", False),
        ("www.foobar.com", True),
        ("foofoobar.com", False),
        ("baz.com", False),
        ("localhost.net", False),
        ("local.localhost", False),
        ("barbarbaz.net", False),
        ("wildcard.io", False),
        ("nested.wildcard.io", True),
        ("awildcard.io", False),
        ("192.168.1.1", True),
        ("192.168.1.2", False),
        ("192.168.0.3", True),
        ("192.168.2.7", False),
        ("fd00::5", True),
        ("fe80::1", False),
        ("WWW.BARBAZ.NET", True),
    ],
)
def test_names_addresses_and_networks_are_excepted(host: str, direct: bool) -> None:
    rules = NoProxy(
        [".foobar.com", "barbaz.net", "*.wildcard.io", "192.168.1.1", "192.168.0.0/24", "fd00::/8"]
    )
    assert rules.covers(Address(host, 8443)) is direct


@pytest.mark.parametrize("entry", ["stub.io:8443", "10.0.0.1:8443", "[fd00::1]:8443"])
def test_a_port_narrows_an_exception(entry: str) -> None:
    host = entry.rpartition(":")[0].strip("[]")
    assert NoProxy([entry]).covers(Address(host, 8443))
    assert not NoProxy([entry]).covers(Address(host, 443))


def test_a_star_excepts_everything_and_nothing_excepts_nothing() -> None:
    assert NoProxy(["*"]).covers(Address("anything", 1))
    assert not NoProxy([]).covers(Address("localhost", 1))


@pytest.mark.parametrize("entry", ["a b", "10.0.0.0/99", "host:0", "host:x", "*", "**", "a*.b", "."])
def test_what_is_no_exception_is_refused_on_the_command_line_and_overlooked_in_the_environment(
    entry: str,
) -> None:
    if entry != "*":
        with pytest.raises(ValueError, match=r"."):
            NoProxy([entry])
        assert no_proxy_from({"NO_PROXY": f"a.b, {entry}"}) == ("a.b",)


def test_the_environments_proxy_is_the_one_for_https() -> None:
    assert proxy_from({"HTTP_PROXY": "http://a:1", "ALL_PROXY": "http://b:1"}) is None
    assert proxy_from({"https_proxy": "http://c:1"}) == ProxyUrl("c", 1)
    assert proxy_from({"HTTPS_PROXY": "http://d:1", "https_proxy": "http://c:1"}) == ProxyUrl("d", 1)
    assert no_proxy_from({"no_proxy": " x , ,y"}) == ("x", "y")


def test_a_proxy_of_the_environment_that_cannot_be_used_is_named_by_its_variable() -> None:
    with pytest.raises(
        UsageError, match=r"HTTPS_PROXY: a socks5 proxy is not supported.*--proxy overrides it"
    ):
        proxy_from({"HTTPS_PROXY": "socks5://p:1080"})
