"""The deny list: certificates that are refused although their signature and dates hold.

    denied.json     in the folder of the authorities; made by `certs init`, written by `certs revoke`, read by every stub while
                    it runs

One certificate is denied by its fingerprint or serial number. A user or a cluster's agents are denied by name: all that was
issued to them up to a moment, which leaves a new certificate good, or everything for good.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certs import files
from certs.authority import is_authority, lifetime_of
from certs.errors import CertificateProblem, FileMissing, NameDenied
from certs.followed import Followed
from certs.lifetime import date_text, parse_moment
from certs.names import AGENT_URI
from certs.peer import PeerCertificate
from certs.pem import read_bounded
from tunnel.kit.watched import MAX_BYTES

DENIED: Final = "denied.json"
LOOK_SECONDS: Final = 1.0
"""How long a revocation may take to be felt by the next request."""

Kind = Literal["certificate", "serial", "user", "agent"]
KINDS: Final[tuple[Kind, ...]] = ("certificate", "serial", "user", "agent")
_FOR_GOOD: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Denial:
    """One entry.

    Attributes:
        id: by which it can be taken back.
        kind: what `value` is.
        value: the certificate's SHA-256 fingerprint, a serial number in hexadecimal, a user's name as clusters see it, or a
            cluster's id.
        since: when it was entered.
        issued_until: for a name: certificates whose life began up to here are denied; None for all, those to come included.
        forget: when the entry is of no use any more, because the certificate has expired; None where that is not known.
        signed_part: of a certificate: SHA-256 of what its authority signed, by which it is known however it is encoded; None
            where only the fingerprint is known.
    """

    id: str
    kind: Kind
    value: str
    since: datetime
    issued_until: datetime | None = None
    forget: datetime | None = None
    signed_part: str | None = None

    @property
    def subject(self) -> str:
        """What it denies, in words."""
        if self.kind not in ("user", "agent"):
            return f"{self.kind} {self.value}"
        what = f"user {self.value}" if self.kind == "user" else f"agents of {self.value}"
        if self.issued_until is None:
            return f"{what}, for good"
        return f"{what}, issued up to {date_text(self.issued_until)}"


class Denials:
    """What one state of the file denies, ready to be asked for each request.

    Args:
        entries: as the file has them.
    """

    def __init__(self, entries: Iterable[Denial] = ()) -> None:
        self.entries = tuple(entries)
        self._certificates = {entry.value: entry for entry in self._of("certificate")}
        self._signed_parts = {each.signed_part: each for each in self._of("certificate") if each.signed_part}
        self._serials = {int(entry.value, 16): entry for entry in self._of("serial")}
        self._names = _latest((*self._of("user"), *self._of("agent")))

    def _of(self, kind: Kind) -> list[Denial]:
        return [entry for entry in self.entries if entry.kind == kind]

    def refuses(self, peer: PeerCertificate) -> str | None:
        """Return why the certificate is denied, in words for its holder, or None where it is not."""
        if not self.entries:
            return None
        entry = self._certificates.get(peer.fingerprint) or self._signed_parts.get(peer.signed_part)
        if entry is None:
            entry = self._serials.get(peer.serial) or self._by_name(peer)
        if entry is None:
            return None
        return f"the client certificate was revoked on {date_text(entry.since)} (denial {entry.id})"

    def issued_until(self, kind: Kind, name: str) -> datetime | None:
        """Return up to when a name's certificates are denied, so that a new one is made to begin later; None where none is.

        Raises:
            NameDenied: the name is denied for good.
        """
        entry = self._names.get((kind, name))
        if entry is None:
            return None
        if entry.issued_until is None:
            raise NameDenied(
                f"{entry.subject}: revoked on {date_text(entry.since)}; `cluster-tunnel certs restore {entry.id}` takes it back"
            )
        return entry.issued_until

    def _by_name(self, peer: PeerCertificate) -> Denial | None:
        for key in _names(peer):
            entry = self._names.get(key)
            # Its own date: the peer's is raised where an authority's certificate was made anew with the same key.
            if entry is not None and peer.own_not_before <= _end(entry):
                return entry
        return None


def _names(peer: PeerCertificate) -> Iterable[tuple[Kind, str]]:
    if peer.signed_by == "agent-ca":
        return [("agent", uri.removeprefix(AGENT_URI)) for uri in peer.uris if uri.startswith(AGENT_URI)]
    return [("user", peer.prefix + name) for name in peer.common_names]


def _end(entry: Denial) -> float:
    return _FOR_GOOD if entry.issued_until is None else entry.issued_until.timestamp()


def _latest(entries: Iterable[Denial]) -> dict[tuple[Kind, str], Denial]:
    return {(entry.kind, entry.value): entry for entry in sorted(entries, key=_end)}


class DenyList:
    """The file as a running stub sees it: followed, and never lost by accident.

    A stub that starts without the file denies nobody. While it runs, a file that is gone or broken changes nothing.

    Args:
        folder: of the authorities.
        interval_seconds: how often the file is looked at.

    Raises:
        CertificateProblem: it is there and cannot be read.
    """

    def __init__(self, folder: Path, interval_seconds: float = LOOK_SECONDS) -> None:
        path = folder / DENIED
        self._file = Followed("the deny list", [path], lambda: Denials(read_denials(path)), interval_seconds)

    @property
    def problem(self) -> str | None:
        """Why the file as it is now is not in force; None where it is."""
        return self._file.problem

    def refuses(self, peer: PeerCertificate) -> str | None:
        """Return why a certificate is denied, in words for its holder, or None; cheap enough for each request."""
        return self.current().refuses(peer)

    @property
    def next_look(self) -> float:
        """When it is time for another look, on the clock of `current`."""
        return self._file.next_look

    def current(self, now: float | None = None) -> Denials:
        """Return what is denied, at a monotonic time in seconds; None for now."""
        return self._file.current(time.monotonic() if now is None else now)


# The file --------------------------------------------------------------------------------------


def make_deny_list(folder: Path) -> None:
    """Write a list that denies nobody, unless there is a list. To be called behind the folder's lock.

    Raises:
        CertificateProblem: it cannot be written.
    """
    if not os.path.lexists(folder / DENIED):
        _write(folder, [])


def deny(folder: Path, entries: Iterable[Denial]) -> None:
    """Add entries to the file, and drop those that are of no use any more: of certificates that have expired, and for names that
    a new entry denies as well.

    Raises:
        CertificateProblem: the file is broken, is full, or cannot be written.
    """
    new = list(entries)
    with files.locked_folder(folder):
        now = datetime.now(UTC)
        kept = [
            entry
            for entry in read_denials(folder / DENIED)
            if (entry.forget is None or entry.forget > now) and not any(_covers(each, entry) for each in new)
        ]
        _write(folder, [*kept, *new])


def _covers(entry: Denial, other: Denial) -> bool:
    same = (entry.kind, entry.value) == (other.kind, other.value)
    return same and _end(entry) >= _end(other)


def restore(folder: Path, id: str) -> Denial:
    """Take an entry out of the file and return it.

    Raises:
        CertificateProblem: there is none of this id, or the file is broken or cannot be written.
    """
    with files.locked_folder(folder):
        entries = read_denials(folder / DENIED)
        found = next((entry for entry in entries if entry.id == id), None)
        if found is None:
            raise CertificateProblem(f"{folder / DENIED}: there is no denial {id!r}")
        _write(folder, [entry for entry in entries if entry is not found])
    return found


def new_denial(kind: Kind, value: str, now: datetime) -> Denial:
    """Return an entry that denies a name's certificates up to now, or a certificate."""
    since = now.replace(microsecond=0)
    named = kind in ("user", "agent")
    return Denial(secrets.token_hex(4), kind, value, since, issued_until=since if named else None)


def denial_of(certificate: x509.Certificate, now: datetime) -> Denial:
    """Return an entry that denies one certificate.

    Raises:
        CertificateProblem: it is an authority's.
    """
    if is_authority(certificate):
        raise CertificateProblem(
            "an authority is not revoked but taken out of the file that trusts it, such as user-ca.crt of the stub's --ca-dir"
        )
    denial = new_denial("certificate", certificate.fingerprint(hashes.SHA256()).hex(), now)
    signed_part = hashlib.sha256(certificate.tbs_certificate_bytes).hexdigest()
    return replace(denial, forget=lifetime_of(certificate).not_after, signed_part=signed_part)


def for_good(denial: Denial) -> Denial:
    """Return the entry with what will be issued to the name denied as well."""
    return replace(denial, issued_until=None)


def read_denials(path: Path) -> list[Denial]:
    """Return the entries of a file, none where it is not there.

    Raises:
        CertificateProblem: it is not such a file; the text names the entry.
    """
    try:
        content = read_bounded(path)
    except FileMissing:
        return []
    try:
        entries = json.loads(content)["denied"]
        if not isinstance(entries, list):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CertificateProblem(f"{path}: is not a deny list: JSON with a list 'denied' is needed") from None
    return [_entry(path, number, entry) for number, entry in enumerate(entries)]


def _entry(path: Path, number: int, entry: Any) -> Denial:
    try:
        kind, value = entry["kind"], entry["value"]
        if kind not in KINDS or not isinstance(value, str) or (kind == "serial" and int(value, 16) < 0):
            raise ValueError
        since, until, forget = (_moment(entry.get(key)) for key in ("since", "issuedUntil", "forget"))
        if since is None:
            raise ValueError
        signed_part = entry.get("signedPart")
        if not isinstance(signed_part, str | None):
            raise ValueError
        return Denial(str(entry["id"]), kind, value, since, until, forget, signed_part)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CertificateProblem(f"{path}: denied[{number}] is not an entry of a deny list") from None


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_moment(text)


def _write(folder: Path, entries: Iterable[Denial]) -> None:
    lines = ",\n".join(json.dumps(_shown(entry), ensure_ascii=False) for entry in entries)
    content = f'{{"denied": [\n{lines}\n]}}\n'.encode()
    if len(content) > MAX_BYTES:
        # A stub would not read it, and go on with what it has.
        raise CertificateProblem(
            f"{folder / DENIED}: is full ({MAX_BYTES} bytes); `certs restore` what is of no use any more"
        )
    # Nothing in it is secret, and a stub may run as another user than who revokes.
    files.replace_file(folder / DENIED, content, files.PUBLIC)


def _shown(entry: Denial) -> dict[str, str | None]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "value": entry.value,
        "since": entry.since.isoformat(),
        "issuedUntil": _text(entry.issued_until),
        "forget": _text(entry.forget),
        **({} if entry.signed_part is None else {"signedPart": entry.signed_part}),
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
