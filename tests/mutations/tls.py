"""Certificates and TLS."""

from typing import Final

from tests.mutations.mutation import Mutation

CONTEXTS: Final = "certs/contexts.py"
PEER: Final = "certs/peer.py"
TEST_CONTEXTS: Final = ("tests/unit/certs/test_contexts.py",)
TEST_PEER: Final = ("tests/unit/certs/test_peer.py",)
STANDING: Final = "certs/standing.py"

TLS: Final = (
    Mutation(
        "tickets resume a login elsewhere",
        CONTEXTS,
        "    context.options |= ssl.OP_NO_TICKET\n",
        "",
        TEST_CONTEXTS,
    ),
    Mutation("TLS 1.3 hands out tickets", CONTEXTS, "    context.num_tickets = 0\n", "", TEST_CONTEXTS),
    Mutation(
        "a TLS 1.2 session resumed by its id shows no certificate",
        "tunnel/aio/tls.py",
        "        elif self._server_hostname is None and self._sslobj.session_reused:\n",
        "        elif False:\n",
        ("tests/integration/test_tls_failures.py", "tests/integration/test_identity.py"),
    ),
    Mutation(
        "an expired certificate fails the handshake, and kubectl tries for ten seconds",
        CONTEXTS,
        "    context.verify_flags |= NO_CHECK_TIME\n",
        "",
        TEST_CONTEXTS,
    ),
    Mutation(
        "dates are looked at once per connection",
        "stub/front/client.py",
        "        self._admission.check_dates(caller)\n",
        "",
        ("tests/unit/stub/front/test_client.py",),
    ),
    Mutation(
        "an expired certificate stands",
        STANDING,
        "        if not peer.valid_at(now):\n",
        "        if False:\n",
        ("tests/unit/certs/test_standing.py",),
    ),
    Mutation(
        "a revoked certificate stands",
        STANDING,
        "        return self.denied.current(now).refuses(peer)\n",
        "        return None\n",
        ("tests/unit/certs/test_standing.py",),
    ),
    Mutation(
        "a certificate of an authority that was taken away stands",
        STANDING,
        "        if not self.peers.trusts(peer):\n",
        "        if False:\n",
        ("tests/unit/certs/test_standing.py",),
    ),
    Mutation(
        "what is open outlives a revocation",
        "stub/sweep.py",
        "            connection.abort(reason)\n",
        "            pass\n",
        ("tests/unit/stub/test_sweep.py",),
    ),
    Mutation(
        "a session of a revoked agent goes on",
        "stub/sweep.py",
        "            self._cut(link, reason)\n",
        "            pass\n",
        ("tests/unit/stub/test_sweep.py",),
    ),
    Mutation(
        "what a revoked agent answers goes on where its session ended before",
        "stub/sweep.py",
        "            exchange.agent_revoked(reason)\n",
        "            pass\n",
        ("tests/unit/stub/test_sweep.py",),
    ),
    Mutation(
        "one cluster's agents take every descriptor",
        "stub/agents/registry.py",
        "        if 0 < self._limits.channels <= entry.channels:\n",
        "        if False:\n",
        ("tests/unit/stub/agents/test_channel.py",),
    ),
    Mutation(
        "a pipe outlives a session that broke the protocol",
        "stub/agents/link.py",
        "                pipe.abort_pipe(reason)\n",
        "                pass\n",
        ("tests/unit/stub/agents/test_link.py",),
    ),
    Mutation(
        "a revoked certificate is encoded anew",
        "certs/denied.py",
        " or self._signed_parts.get(peer.signed_part)\n",
        "\n",
        ("tests/unit/certs/test_denied.py",),
    ),
    Mutation(
        "a revocation is lifted by an authority's new certificate",
        "certs/denied.py",
        " and peer.own_not_before <= _end(entry):\n",
        " and peer.not_before <= _end(entry):\n",
        ("tests/unit/certs/test_denied.py",),
    ),
    Mutation(
        "a deny list that cannot be read denies nobody, and nobody hears of it",
        "certs/followed.py",
        " or not self._is_missing() else None)\n",
        " else None)\n",
        ("tests/unit/certs/test_followed.py",),
    ),
    Mutation(
        "a lock that does not reach other machines",
        "certs/files.py",
        "    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW\n",
        "    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW\n",
        ("tests/unit/certs/test_files.py",),
    ),
    Mutation(
        "root locks the stub out of its own files",
        "certs/files.py",
        "        _give_to(descriptor, owner)\n",
        "",
        ("tests/unit/certs/test_files.py",),
    ),
    Mutation(
        "a key is given to who has put a file in its place",
        "certs/files.py",
        "    if folder.st_mode & stat.S_ISVTX:\n",
        "    if False:\n",
        ("tests/unit/certs/test_files.py",),
    ),
    Mutation(
        "a umask hides the deny list from the stub",
        "certs/files.py",
        "        os.fchmod(descriptor, mode)\n",
        "",
        ("tests/unit/certs/test_files.py",),
    ),
    Mutation(
        "a server's certificate is a client's",
        PEER,
        "    if not peer.for_clients:\n",
        "    if False:\n",
        TEST_PEER,
    ),
    Mutation(
        "an agent's certificate is a user's",
        PEER,
        "    if peer.signed_by != signer:\n",
        "    if False:\n",
        TEST_PEER,
    ),
    Mutation(
        "an authority of the same name signs",
        PEER,
        "        certificate.verify_directly_issued_by(authority)\n",
        "        pass\n",
        TEST_PEER,
    ),
    Mutation(
        "a certificate outlives its authority",
        PEER,
        "    lifetime = peer.lifetime.within(lifetime_of(authority.certificate))\n",
        "    lifetime = peer.lifetime\n",
        TEST_PEER,
    ),
    Mutation(
        "an agent's cluster is told by more than one name",
        PEER,
        "    if len(clusters) != 1:\n",
        "    if not clusters:\n",
        TEST_PEER,
    ),
    Mutation(
        "an agent that does not check the stub's name",
        CONTEXTS,
        "    context = _client(strict=strict, alpn=alpn)\n    context.minimum_version = ssl.TLSVersion.TLSv1_3\n    _trust(context, _usable_authorities(authority))\n",
        "    context = _client(strict=strict, alpn=alpn)\n    context.check_hostname = False\n    context.minimum_version = ssl.TLSVersion.TLSv1_3\n    _trust(context, _usable_authorities(authority))\n",
        TEST_CONTEXTS,
    ),
    Mutation(
        "a port for agents that lets everybody in",
        CONTEXTS,
        "ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_3",
        "ssl.CERT_OPTIONAL, ssl.TLSVersion.TLSv1_3",
        TEST_CONTEXTS,
    ),
    Mutation(
        "a handshake without end",
        "tunnel/aio/tls.py",
        "        self._close_timer = loop.call_later(handshake_seconds, self._handshake_expired)\n",
        "",
        ("tests/unit/aio/test_tls.py",),
    ),
    Mutation(
        "handshakes that wait keep everybody else out",
        "tunnel/aio/admittance.py",
        "                if each.waits_for_peer and now - each.waiting_since >= PATIENCE_SECONDS:\n",
        "                if False:\n",
        ("tests/unit/aio/test_admittance.py",),
    ),
    Mutation(
        "handshakes without end from one address",
        "tunnel/aio/admittance.py",
        "        if self._by_address is not None and self._by_address.take(network, now):\n",
        "        if False:\n",
        ("tests/unit/aio/test_admittance.py",),
    ),
)
