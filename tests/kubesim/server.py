"""The listener: TLS on asyncio streams, a task per connection, an end that leaves none behind."""

import asyncio
import contextlib
import ssl
import traceback
from collections.abc import Awaitable, Callable

import h11

from tests.kubesim.connection import HEAD_BYTES, Connection, PushbackReader
from tests.kubesim.http import Request, Response

Handler = Callable[[Request, Connection], Awaitable[Response | None]]


class Server:
    """Serves connections until closed.

    Attributes:
        accepted: how many connections there have been.
        failures: what handlers raised that they should not have: bugs of the simulator.
    """

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.failures: list[Exception] = []

    async def listen(self, host: str, port: int, context: ssl.SSLContext) -> int:
        """Start to listen and return the port.

        Raises:
            OSError: the address is in use.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, host, port, ssl=context, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def disconnect_all(self) -> None:
        """Cut every connection that is open now; new ones are served."""
        for task in tuple(self._tasks):
            task.cancel()

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = PushbackReader(limit=HEAD_BYTES)
        return asyncio.StreamReaderProtocol(reader, self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, PushbackReader)
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: PushbackReader, writer: asyncio.StreamWriter) -> None:
        try:
            await Connection(reader, writer, self._handle).serve()
        except (ConnectionError, ssl.SSLError, h11.ProtocolError):
            # The peer went away or broke HTTP in the middle: the connection ends, as it would behind any server.
            writer.transport.abort()
        except Exception as error:
            # A bug here must not pass for the behaviour of an API: it is told on leaving the simulator.
            self.failures.append(error)
            traceback.print_exception(error)
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await writer.wait_closed()
