"""Everything that proves who somebody is is replaced while users work."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.fleet import Plan, fleet, user_context
from tests.faults.http import Broken
from tests.faults.load import Client, load
from tests.faults.rotations import Rotation


async def test_replacing_authorities_certificates_and_tokens_under_load_fails_no_request(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, Plan(stubs=1, agents=2, lease="none")) as found:
        (stub,) = found.stubs
        former = user_context(found.folder)
        client = Client(lambda: stub.port, found.context)
        async with load(client) as users:
            rotation = Rotation(found, client)
            for step in (
                *(rotation.trust_both, rotation.server, rotation.agents),
                *(rotation.user, rotation.tokens, rotation.trust_new),
            ):
                await step()
            await asyncio.sleep(1)
        assert not users.book.failed, users.book.described()
        assert users.book.miscounted(found.counting.created) == []
        assert users.book.retried == 0
        former.load_verify_locations(found.folder / "ca/server-ca.crt")
        stranger = Client(lambda: stub.port, former)
        with pytest.raises((Broken, OSError)):
            await stranger.ask_once("GET", "/api/v1/namespaces")
        stranger.close()
