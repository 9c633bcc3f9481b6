"""What several tests of the agent need."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.fakes import Clock


@pytest.fixture
async def tasks(clock: Clock) -> AsyncIterator[asyncio.TaskGroup]:
    """Owns the dialling; what still waits when a test is over is cancelled."""

    class Over(Exception):
        pass

    with pytest.RaisesGroup(Over):
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            raise Over
