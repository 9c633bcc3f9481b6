"""What stands in each kind of certificate."""

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.authority import Authority
from certs.issue import issue_agent, issue_server, issue_user
from tests.unit.certs.installation import Installation, lasting


@pytest.fixture
def authority(installation: Installation) -> Authority:
    return installation.store.authority("server-ca")


def names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_a_server_is_valid_for_its_hosts_and_for_this_machine(authority: Authority) -> None:
    found = names(
        issue_server(authority, ["b.example.com", "*.b.example.com", "10.0.0.9"], lasting()).certificate
    )
    assert found.get_values_for_type(x509.DNSName) == ["b.example.com", "*.b.example.com", "localhost"]
    addresses = ["10.0.0.9", "127.0.0.1", "::1"]
    assert found.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(text) for text in addresses]


def test_a_host_given_twice_stands_there_once(authority: Authority) -> None:
    found = names(issue_server(authority, ["localhost", "127.0.0.1"], lasting()).certificate)
    assert len(list(found)) == 3


def test_an_agent_s_certificate_carries_its_cluster_in_a_uri(authority: Authority) -> None:
    certificate = issue_agent(authority, "dev-1", lasting()).certificate
    uris = names(certificate).get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["cluster-tunnel://agent/dev-1"]
    assert certificate.subject.rfc4514_string() == "CN=dev-1"


def test_a_user_s_certificate_has_the_groups_in_their_order(authority: Authority) -> None:
    subject = issue_user(
        authority, "alice@example.com", ["ops", "devs", "ämter"], lasting()
    ).certificate.subject
    organizations = [item.value for item in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert organizations == ["ops", "devs", "ämter"]
    assert [item.value for item in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "alice@example.com"
    ]


def test_names_are_checked_before_anything_is_signed(authority: Authority) -> None:
    with pytest.raises(ValueError, match="user name must not be empty"):
        issue_user(authority, "", [], lasting())
    with pytest.raises(ValueError, match="is not a cluster id"):
        issue_agent(authority, "Dev", lasting())
    with pytest.raises(ValueError, match="is not a host"):
        issue_server(authority, ["https://stub"], lasting())
