"""Whom a stub takes for its apiserver, whatever the Python it runs on demands of certificates by itself."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from certs.authority import Authority
from certs.issue import issue_server
from stub.election.api import KubernetesApi
from stub.election.errors import StoreUnavailable
from stub.election.stores.kubernetes import KubernetesLeaseStore
from tests.integration.election.apiserver import running_apiserver, write_kubeconfig
from tests.unit.certs.installation import lasting, self_signed, write_pair


@pytest.fixture(autouse=True)
def strict_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `ssl.create_default_context` gives from Python 3.13 on."""
    make = ssl.create_default_context

    def create(cafile: str | None = None) -> ssl.SSLContext:
        context = make(cafile=cafile)
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    monkeypatch.setattr(ssl, "create_default_context", create)


def lax_authority() -> Authority:
    """Without key identifiers and key usage, as many clusters' are."""
    return Authority(self_signed("kubernetes", (x509.BasicConstraints(True, None), True)), "ca.crt")


async def ask(folder: Path, own: Authority, trusted: Authority) -> None:
    """Read the lease of an apiserver that `own` vouches for, as a stub that trusts `trusted`."""
    files = write_pair(folder, "apiserver", issue_server(own, [], lasting()))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.certificate, files.key)
    ca = write_pair(folder, "ca", trusted.pair).certificate
    async with running_apiserver(tls) as server:
        kubeconfig = folder / "kubeconfig"
        write_kubeconfig(kubeconfig, server.url, {"token": "secret"}, certificate_authority=ca)
        api = KubernetesApi(kubeconfig)
        try:
            assert await KubernetesLeaseStore(api, "ns", "lease").read(30.0) is None
        finally:
            await api.close()


async def test_an_authority_without_key_identifiers_vouches_for_an_apiserver(tmp_path: Path) -> None:
    own = lax_authority()
    await ask(tmp_path, own, trusted=own)


async def test_an_apiserver_of_another_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"TLS to the apiserver: .*CERTIFICATE_VERIFY_FAILED"):
        await ask(tmp_path, lax_authority(), trusted=lax_authority())
