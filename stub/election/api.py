"""The calls to the Kubernetes API that an election needs, through kubernetes-asyncio: the one module that imports it.

It is imported when the first call is made: it costs 36 MiB beside aiohttp's 10, and 0.4 s. What of it is not relied on, and why:

- its time-outs: a call without `_request_timeout` has none of any kind;
- its models and decoding: an error page in HTML ends in JSONDecodeError, a zero microsecond is written in a form that the
  apiserver refuses; bodies go in and out as plain JSON here, with a bound on their size;
- its token file: a newline at the end would become part of the header; the file is read here;
- its TLS, which from Python 3.13 on wants key identifiers that many clusters' authorities do not have;
- its session, which obeys `HTTPS_PROXY` and `~/.netrc`: the apiserver of one's own cluster is reached directly, or through the
  `proxy-url` of the kubeconfig;
- its watch, which reconnects without end and has no time-out, and its leader election.
"""

import asyncio
import contextlib
import importlib
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from stub.election.errors import StoreConflict, StoreError, StoreRefused, StoreUnavailable

ANSWER_BYTES: Final = 4 * 1024 * 1024
"""An answer larger than this is not read. A Lease has one kilobyte, a Pod some twenty, and the list is of a few Pods."""

WATCH_SECONDS: Final = 300
"""The apiserver ends a watch after this, so that one that lost its way is not kept for ever."""

WATCH_SILENCE_SECONDS: Final = 30.0
"""A watch without a byte for this long is made anew. While somebody holds the lease there is an event every 2 s."""

CONNECT_SECONDS: Final = 2.5
"""To connect and to be answered on a watch."""

TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

_OF_A_WRONG_FILE: Final = (
    OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, yaml.YAMLError,
)  # fmt: skip
"""What the library's loader raises, beside its own error, where a kubeconfig is not shaped as it expects."""

Manifest = dict[str, Any]


class NotThere(StoreError):
    """The object does not exist."""


class KubernetesApi:
    """A client of one apiserver, made at the first call and made anew when its credentials were refused.

    Args:
        kubeconfig: the file whose current context says where and as whom; None for the service account of this Pod.
        token_file: the service account's token.
    """

    def __init__(self, kubeconfig: Path | None, *, token_file: Path = TOKEN_FILE) -> None:
        self._kubeconfig = kubeconfig
        self._token_file = token_file
        self._client: Any = None
        self._connecting = asyncio.Lock()

    async def open(self) -> None:
        """Import the library and read the configuration, so that a mistake shows at the start.

        Raises:
            StoreRefused: there is no usable configuration; the text names the file.
        """
        await self._connect()

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def call(
        self, group: str, operation: str, *arguments: object, timeout_seconds: float, **options: object
    ) -> Manifest:
        """Return the object that the apiserver answers with.

        Args:
            group: the class of the library, such as `CoordinationV1Api`.
            operation: its method, such as `read_namespaced_lease`.
            arguments: what the operation takes.
            timeout_seconds: the bound of everything, connecting included.
            options: further parameters by the library's names.

        Raises:
            NotThere: 404.
            StoreConflict: 409.
            StoreRefused: another 4xx.
            StoreUnavailable: anything else that is no object.

        It can be cancelled; then a write may have taken effect.
        """
        async with self._translated(), asyncio.timeout(timeout_seconds):
            response = await self._send(group, operation, arguments, options, timeout_seconds)
            try:
                body = await _read_body(response)
                if not 200 <= response.status <= 299:
                    await self._refuse(response.status, body)
                return _read_object(body)
            finally:
                response.release()

    async def watch(
        self, group: str, operation: str, *arguments: object, **options: object
    ) -> AsyncGenerator[tuple[str, Manifest], None]:
        """Yield the type and the object of each event until the apiserver ends the watch.

        Raises:
            StoreError: as `call`; also when nothing was heard for `WATCH_SILENCE_SECONDS`.
        """
        options |= {"watch": True, "timeout_seconds": WATCH_SECONDS}
        async with self._translated():
            async with asyncio.timeout(CONNECT_SECONDS):
                response = await self._send(
                    group, operation, arguments, options, (CONNECT_SECONDS, WATCH_SILENCE_SECONDS)
                )
            try:
                if response.status != 200:
                    await self._refuse(response.status, await _read_body(response))
                while line := await response.content.readline():
                    yield _read_event(line)
            finally:
                response.close()

    async def _send(
        self,
        group: str,
        operation: str,
        arguments: tuple[object, ...],
        options: Mapping[str, object],
        bounds: object,
    ) -> Any:
        client = await self._connect()
        api = getattr(importlib.import_module("kubernetes_asyncio.client"), group)(client)
        return await getattr(api, operation)(
            *arguments, **options, _preload_content=False, _request_timeout=bounds
        )

    async def _refuse(self, status: int, body: bytes) -> None:
        if status == 401:
            await (
                self.close()
            )  # a token or a certificate may have been replaced: the next call reads them again
        reason = f"the apiserver answered {status}{_describe_status(body)}"
        if status == 404:
            raise NotThere(reason)
        if status == 409:
            raise StoreConflict(reason)
        # 408 and 429 are no verdict on the request.
        raise (
            StoreRefused(reason)
            if 400 <= status < 500 and status not in (408, 429)
            else StoreUnavailable(reason)
        )

    @contextlib.asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Turn what the library and aiohttp raise into this project's errors; cancellation passes."""
        try:
            yield
        except TimeoutError:
            raise StoreUnavailable("the apiserver did not answer in time") from None
        except ssl.SSLError as error:
            await self.close()  # the authority's or the own certificate may have been replaced
            raise StoreUnavailable(f"TLS to the apiserver: {_first_line(error)}") from error
        except OSError as error:
            raise StoreUnavailable(f"the apiserver cannot be reached: {_first_line(error)}") from error
        except ValueError as error:
            raise StoreUnavailable(f"the apiserver's answer cannot be read: {_first_line(error)}") from error
        except Exception as error:
            if not _is_of_the_client(error):
                raise
            raise StoreUnavailable(f"the connection to the apiserver failed: {_first_line(error)}") from error

    # Connecting ------------------------------------------------------------------------------------

    async def _connect(self) -> Any:
        async with self._connecting:
            if self._client is None:
                library = await asyncio.to_thread(importlib.import_module, "kubernetes_asyncio")
                self._client = await self._make_client(library)
            return self._client

    async def _make_client(self, library: Any) -> Any:
        configuration = library.client.Configuration()
        configuration.disable_strict_ssl_verification = True  # as an agent's towards its apiserver
        place = self._kubeconfig or "this Pod's service account"
        try:
            await self._configure(library, configuration)
            client = library.client.ApiClient(configuration)
        except (library.config.ConfigException, *_OF_A_WRONG_FILE) as error:
            raise StoreRefused(f"{place}: {_first_line(error)}") from None
        await _take_session_out_of_environment(client)
        return client

    async def _configure(self, library: Any, configuration: Any) -> None:
        if self._kubeconfig is not None:
            await library.config.load_kube_config(
                str(self._kubeconfig), client_configuration=configuration, persist_config=False
            )
            if "BearerToken" in configuration.api_key:
                configuration.api_key["BearerToken"] = configuration.api_key["BearerToken"].strip()
            return
        library.config.load_incluster_config(
            configuration, try_refresh_token=False, token_filename=str(self._token_file)
        )
        self._read_token(configuration)
        configuration.refresh_api_key_hook = self._read_token

    def _read_token(self, configuration: Any) -> None:
        """Tokens are replaced in their file every hour or so; the file is in memory, and one renewal in 2 s reads it."""
        configuration.api_key["BearerToken"] = f"Bearer {self._token_file.read_text().strip()}"


async def _take_session_out_of_environment(client: Any) -> None:
    """Give the client a session that takes its proxies and passwords from the configuration alone."""
    session = client.rest_client.pool_manager
    client.rest_client.pool_manager = type(session)(connector=session.connector, trust_env=False)
    session.detach()


def _is_of_the_client(error: Exception) -> bool:
    """aiohttp and the library have roots of their own, and importing them here would cost what is saved."""
    return any(cls.__module__.startswith(("aiohttp.", "kubernetes_asyncio.")) for cls in type(error).__mro__)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


async def _read_body(response: Any) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise StoreUnavailable(f"the apiserver's answer is larger than {ANSWER_BYTES} bytes")
    return bytes(body)


def _read_object(body: bytes) -> Manifest:
    try:
        value = json.loads(body)
    except RecursionError:
        value = None
    if not isinstance(value, dict):
        raise StoreUnavailable("the apiserver's answer is no object")
    return value


def _read_event(line: bytes) -> tuple[str, Manifest]:
    event = _read_object(line)
    kind, manifest = event.get("type"), event.get("object")
    if not isinstance(kind, str) or not isinstance(manifest, dict):
        raise StoreUnavailable("the watch told something that is no event")
    if kind == "ERROR":
        raise StoreUnavailable(f"the watch ended{_describe_status(json.dumps(manifest).encode())}")
    return kind, manifest


def _describe_status(body: bytes) -> str:
    """The message of a Status; a page of a load balancer says nothing worth a log line."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f": {message[:200]}" if isinstance(message, str) else ""
