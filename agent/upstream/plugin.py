"""Credentials from a kubeconfig's exec plugin: a program that prints an ExecCredential when it is run."""

import asyncio
import json
import os
from datetime import datetime
from typing import Any, Final

from agent.upstream.credential import bearer, is_token
from certs.upstream import ExecPlugin
from tunnel.core.http.message import Field
from tunnel.kit.failures import CommandFailed

PLUGIN_SECONDS: Final = 60.0
"""How long a plugin may take; cloud CLIs that refresh a login need several seconds."""

OUTPUT_BYTES: Final = 1024 * 1024
"""An ExecCredential is a few KiB."""


class PluginCredential:
    """The token that an exec plugin prints; it is run at the start and whenever the apiserver answers 401.

    Args:
        plugin: what to run.
    """

    can_renew = True

    def __init__(self, plugin: ExecPlugin) -> None:
        self._plugin = plugin
        self._fields: list[Field] = []
        self._running = asyncio.Lock()
        self._generation = 0

    def fields(self, now: float) -> list[Field]:
        return self._fields

    async def renew(self) -> None:
        """Run the plugin. Requests that meet a 401 together wait for one run.

        Raises:
            CommandFailed: it cannot be run, fails, or prints no token.
        """
        generation = self._generation
        async with self._running:
            if generation == self._generation:
                self._fields = [bearer(token_of(await self._run(), self._plugin.command))]
                self._generation += 1

    async def _run(self) -> bytes:
        plugin = self._plugin
        information = {
            "apiVersion": plugin.api_version,
            "kind": "ExecCredential",
            "spec": {"interactive": False},
        }
        environment = {
            **os.environ,
            **dict(plugin.environment),
            "KUBERNETES_EXEC_INFO": json.dumps(information),
        }
        try:
            process = await asyncio.create_subprocess_exec(
                plugin.command,
                *plugin.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            hint = f"; {plugin.install_hint}" if plugin.install_hint else ""
            raise CommandFailed(
                f"the kubeconfig's exec plugin {plugin.command}: {error.strerror}{hint}"
            ) from None
        return await self._output(process)

    async def _output(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PLUGIN_SECONDS):
                output = await self._read_all(process.stdout)
                code = await process.wait()
        except TimeoutError:
            raise CommandFailed(
                f"the exec plugin {self._plugin.command} took longer than {PLUGIN_SECONDS:g} s"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code:
            raise CommandFailed(f"the exec plugin {self._plugin.command} failed with exit code {code}")
        return output

    async def _read_all(self, pipe: asyncio.StreamReader) -> bytes:
        output = bytearray()
        while piece := await pipe.read(OUTPUT_BYTES):
            output += piece
            if len(output) > OUTPUT_BYTES:
                raise CommandFailed(
                    f"the exec plugin {self._plugin.command} printed more than {OUTPUT_BYTES} bytes"
                )
        return bytes(output)


def token_of(output: bytes, command: str) -> bytes:
    """Return the token in an ExecCredential.

    Raises:
        CommandFailed: it is not one, holds no token, or one that has expired.
    """
    try:
        value: Any = json.loads(output)
        status = value["status"]
        token = status["token"].encode()
        expires = status.get("expirationTimestamp")
        over = (
            expires is not None and datetime.fromisoformat(expires).timestamp() < datetime.now().timestamp()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CommandFailed(
            f"the exec plugin {command} printed no ExecCredential with a token (client certificates from plugins are not "
            f"supported yet)"
        ) from None
    if over:
        raise CommandFailed(f"the exec plugin {command} printed a token that has expired")
    if not is_token(token):
        raise CommandFailed(
            f"the exec plugin {command} printed a token with white space or a control character"
        )
    return bytes(token)
