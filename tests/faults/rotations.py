"""Replacing everything that proves who somebody is, while it is used: authorities, certificates, the agents' tokens."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from certs.lifetime import USER_LIFE, Lifetime, utc_now
from certs.names import AUTHORITIES, AuthorityName
from certs.store import CertificateStore
from tests.faults.fleet import CLUSTER, Fleet
from tests.faults.load import Client
from tests.faults.processes import LOOK_SECONDS, FaultFailed, Member
from tests.faults.upstream import USER

EFFECT_SECONDS: Final = 60.0
"""Files are looked at every five seconds, and a session that is replaced lives ten more."""

IN_FORCE: Final = "changed files are in force"


class Rotation:
    """The steps in which an operator replaces all of it; each returns when it has taken effect.

    Args:
        found: what is rotated; it has one stub.
        client: its user, who has no old connection left behind `user`.
    """

    def __init__(self, found: Fleet, client: Client) -> None:
        self._found = found
        self._client = client
        self._old = CertificateStore(found.folder / "ca")
        self._new = CertificateStore(found.folder / "next")
        self._new.make_authorities(utc_now())
        self._life = Lifetime.starting(utc_now(), USER_LIFE)

    async def trust_both(self) -> None:
        """Let everybody trust the new authorities beside the old ones."""
        self._found.context.load_verify_locations(self._new.files("server-ca").certificate)
        both = {name: self._old.authority_pem(name) + self._new.authority_pem(name) for name in AUTHORITIES}
        await self._trust(both)

    async def server(self) -> None:
        """Give the stub a certificate of the new authority."""
        self._new.issue_server(["localhost"], self._life)
        before = await self._served()
        self._move("server")
        while await self._served() == before:
            await asyncio.sleep(LOOK_SECONDS)

    async def agents(self) -> None:
        """Give the agents a certificate of the new authority."""
        (stub,), count = self._found.stubs, len(self._found.agents)
        due = [(text, stub.has_said(text) + count) for text in ("an agent connected", "an agent is gone")]
        self._new.issue_agent(CLUSTER, self._life)
        self._move(f"agent-{CLUSTER}")
        for text, times in due:
            await _until(stub, text, times)

    async def user(self) -> None:
        """Give the user a certificate of the new authority, and connections with it alone."""
        self._new.issue_user(USER, ["devs"], self._life)
        files = self._new.files(f"user-{USER}")
        self._found.context.load_cert_chain(files.certificate, files.key)
        await self._client.renew()

    async def tokens(self) -> None:
        """Give the agents other tokens; the apiserver refuses the old ones once the new ones are used. A kubelet replaces tokens
        when four fifths of their life are over, so that both are good for a while."""
        counting = self._found.counting
        for token, name in list(counting.agents.items()):
            counting.agents[f"next-{token}"] = name
            self._put_file(self._found.folder / f"{name}.token", f"next-{token}".encode())
            async with asyncio.timeout(EFFECT_SECONDS):
                while f"next-{token}" not in counting.tokens:
                    await asyncio.sleep(LOOK_SECONDS)
            del counting.agents[token]

    async def trust_new(self) -> None:
        """Let nobody trust the old authorities any more."""
        await self._trust({name: self._new.authority_pem(name) for name in AUTHORITIES})

    async def _trust(self, authorities: Mapping[AuthorityName, bytes]) -> None:
        # A stub says it twice: of its handshakes, and of the certificates that it judges with each request.
        due = [
            (each, each.has_said(IN_FORCE) + (2 if each in self._found.stubs else 1))
            for each in self._found.members
        ]
        for name, pem in authorities.items():
            self._put(f"{name}.crt", pem)
        for member, count in due:
            await _until(member, IN_FORCE, count)

    async def _served(self) -> bytes | None:
        """Return the certificate that the stub shows now."""
        _, writer = await asyncio.open_connection(
            "localhost", self._found.stubs[0].port, ssl=self._found.context
        )
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True)
        writer.close()
        return shown

    def _move(self, stem: str) -> None:
        """Put a new pair in place of the old one, the key first: between the two they do not belong together."""
        files = self._new.files(stem)
        for path in (files.key, files.certificate):
            self._put(path.name, path.read_bytes())

    def _put(self, name: str, content: bytes) -> None:
        self._put_file(self._old.folder / name, content)

    def _put_file(self, path: Path, content: bytes) -> None:
        """Replace a file as a Secret is replaced: nobody sees half of it."""
        beside = path.with_suffix(".next")
        beside.write_bytes(content)
        os.replace(beside, path)


async def _until(member: Member, text: str, times: int) -> None:
    deadline = asyncio.get_running_loop().time() + EFFECT_SECONDS
    while member.has_said(text) < times:
        if asyncio.get_running_loop().time() > deadline:
            raise FaultFailed(f"{member.name} does not take up what is new\n{member.said()}")
        await asyncio.sleep(LOOK_SECONDS)
