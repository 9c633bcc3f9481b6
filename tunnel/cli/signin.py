"""Signing in at a stub: the best certificate that is at hand, or another one when two thirds of its life are over."""

import asyncio
import json
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from certs.call import CALL_SECONDS, Answer, Call, CallFailed, Request
from certs.contexts import calling_context
from certs.csr import make_key, make_request, private_pem
from certs.errors import CertificateProblem
from certs.lifetime import date_text
from certs.logins import LoginCache, embedded_pair
from certs.pem import KeyPair, PemText, read_bounded
from certs.renewal import expiry, is_fresh, is_good, renewal_due
from certs.signed import LOGIN, SigningRefused, login_body, read_signed
from tunnel.aio.connect import Proxy
from tunnel.aio.dial import dial_tls
from tunnel.aio.errors import DialFailed
from tunnel.cli.certs import note
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address

TOKEN_BYTES: Final = 64 * 1024
COMMAND_SECONDS: Final = 300.0
"""How long a command may take that gets an id-token: a person may have to find the second factor first."""

TokenSource = Callable[[], str]


@dataclass(frozen=True, slots=True)
class SignIn:
    """One way of signing in.

    Attributes:
        stub: where.
        server_name: what the stub's certificate must be for.
        authority: whom to trust as the stub.
        cache: keeps the certificate between two runs.
        first: the certificate to begin with, if there is one.
        id_token: gets an id-token, if that is the way; then certificates are not renewed by showing them.
        proxy: leads to the stub, if one does.
    """

    stub: Address
    server_name: str
    authority: PemText = field(repr=False)
    cache: LoginCache
    first: KeyPair | None = field(default=None, repr=False)
    id_token: TokenSource | None = None
    proxy: Proxy | None = None

    def certificate(self, now: datetime) -> KeyPair:
        """Return a certificate that is good now.

        Raises:
            CommandFailed: there is none, and the stub gives none.
        """
        pair = self._best(now)
        if pair is not None and is_fresh(pair, now):
            return pair
        with self.cache.locked():
            # Again: whoever was waited for has signed in.
            pair = self._best(now)
            if pair is not None and is_fresh(pair, now):
                return pair
            try:
                new = asyncio.run(self._ask(pair if pair is not None and is_good(pair, now) else None))
            except CommandFailed as failure:
                if pair is None or not is_good(pair, now):
                    raise
                note(f"warning: {failure}; the certificate that is there ends on {date_text(expiry(pair))}")
                return pair
            self.cache.write(new, now)
            return new

    def _best(self, now: datetime) -> KeyPair | None:
        """The one that need not be renewed for longest: the first may outlive all others, and be due before any of them."""
        pairs = [pair for pair in (self.cache.read(), self.first) if pair is not None]
        return max(pairs, key=lambda pair: (is_good(pair, now), renewal_due(pair)), default=None)

    async def _ask(self, own: KeyPair | None) -> KeyPair:
        token = None if self.id_token is None else self.id_token()
        if token is None and own is None:
            over = (
                ""
                if self.first is None
                else f"; the one in the kubeconfig ended on {date_text(expiry(self.first))}"
            )
            raise CommandFailed(
                f"there is no certificate that could renew itself{over}; ask for a new kubeconfig"
            )
        shown = own if token is None else None
        key = make_key()
        body = login_body(make_request(key), token)
        try:
            signed = read_signed(await self._call(body, shown))
        except SigningRefused as refused:
            raise CommandFailed(f"the stub at {self.stub} refuses the sign-in: {refused}") from None
        pem = private_pem(key)
        signed.check(pem)
        return embedded_pair("the new certificate", signed.certificate + pem)

    async def _call(self, body: bytes, shown: KeyPair | None) -> Answer:
        own = None if shown is None else PemText("the certificate", shown.certificate_pem + shown.key_pem)
        call = Call(Request(str(self.stub), LOGIN, body))
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await dial_tls(
                    self.stub.host,
                    self.stub.port,
                    calling_context(self.authority, own),
                    server_hostname=self.server_name,
                    handler_factory=lambda: call,
                    via=self.proxy,
                )
                return await call.answer()
        except TimeoutError:
            raise CommandFailed(f"the stub at {self.stub} did not answer within {CALL_SECONDS:g} s") from None
        except (DialFailed, CallFailed) as failure:
            raise CommandFailed(f"the stub at {self.stub}: {failure}") from None


# Id-tokens -------------------------------------------------------------------------------------


def token_from_file(path: Path) -> str:
    """Return the id-token in a file. Raises CommandFailed."""
    return _token(read_bounded(path, TOKEN_BYTES), str(path))


def token_from_command(command: str) -> str:
    """Return the id-token that a command prints, alone or in an ExecCredential as other kubectl plugins print it.

    Raises:
        CommandFailed: it cannot be run, fails, or prints no token.
    """
    program = shlex.split(command)
    try:
        done = subprocess.run(program, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False)
    except OSError as error:
        raise CommandFailed(f"--oidc-token-command {program[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(
            f"--oidc-token-command {program[0]} took longer than {COMMAND_SECONDS:g} s"
        ) from None
    if done.returncode:
        raise CommandFailed(f"--oidc-token-command {program[0]} failed with exit code {done.returncode}")
    return _token(done.stdout, f"--oidc-token-command {program[0]}")


def _token(output: bytes, where: str) -> str:
    text: Any = output.decode("utf-8", errors="replace").strip()
    if text.startswith("{"):
        try:
            text = json.loads(text)["status"]["token"]
        except (ValueError, KeyError, TypeError):
            text = None
    if not isinstance(text, str) or text.count(".") != 2 or not text.isascii() or " " in text:
        raise CertificateProblem(f"{where}: holds no id-token")
    return text
