"""What the unit tests of the I/O shell share."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.fakes import Clock, stopped_clock


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    """The loop's time, in the test's hand."""
    with stopped_clock(asyncio.get_running_loop()) as clock:
        yield clock
