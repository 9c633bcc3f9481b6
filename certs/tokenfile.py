"""Join tokens as the stub keeps them, and which cluster joined under which id.

    join-tokens.json    in the folder of the authorities, mode 0600; written by `cluster-tunnel token` and by every stub that
                        enrols agents, each behind the folder's lock

A use is counted before the certificate leaves: a crash may cost a use and never gives one more. Only the digest of a token's
secret is kept.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from certs import files
from certs.errors import CertificateProblem, FileMissing
from certs.lifetime import date_text, duration_text, parse_moment
from certs.names import check_cluster
from certs.pem import read_bounded
from certs.tokens import JoinToken, new_token

TOKENS: Final = "join-tokens.json"
MOST_USES: Final = 10_000
"""Of one token; a cluster with more nodes takes a second one."""

REPEAT_WINDOW: Final = timedelta(minutes=10)
"""How long an agent may ask again with the same key, when the answer to its first try was lost, without a second use."""

KEPT: Final = timedelta(days=7)
"""How long a token that is over stays listed, so that whoever comes late is told why."""

T = TypeVar("T")


class TokenRefused(Exception):
    """A join token is not good, or not for whom it came from; the text says why."""


class OtherCluster(TokenRefused):
    """A cluster's id stands for another cluster than the one that the agent is in."""


@dataclass(frozen=True, slots=True)
class Use:
    """A certificate that was given for a token.

    Attributes:
        key: the fingerprint of the public key.
        at: when.
    """

    key: str
    at: datetime


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is known of a token.

    Attributes:
        id: its name.
        cluster: the id that its agents get.
        digest: of the secret.
        created, expires: its life.
        uses: how many agents may join with it.
        used: how many have.
        recent: the last uses, as far as they may be repeated.
        revoked: when it was, or None.
        rebind: whether its first agent may come from a cluster with another UID than the agents before.
    """

    id: str
    cluster: str
    digest: str
    created: datetime
    expires: datetime
    uses: int
    used: int = 0
    recent: tuple[Use, ...] = ()
    revoked: datetime | None = None
    rebind: bool = False

    def problem_at(self, now: datetime) -> str | None:
        """Return why nobody else can join with it, or None where somebody can."""
        if self.revoked is not None:
            return f"was revoked on {date_text(self.revoked)}"
        if now > self.expires:
            return f"expired {duration_text(now - self.expires)} ago, on {date_text(self.expires)}"
        if self.used >= self.uses:
            return "is used up" if self.uses > 1 else "was used already"
        return None

    def repeats(self, key: str, now: datetime) -> bool:
        """Whether this key has got its certificate a moment ago."""
        return self.revoked is None and any(
            use.key == key and now - use.at < REPEAT_WINDOW for use in self.recent
        )

    def with_use(self, key: str, now: datetime) -> "TokenRecord":
        """Return the record with one more use."""
        recent = tuple(use for use in self.recent if now - use.at < REPEAT_WINDOW)
        return replace(self, used=self.used + 1, recent=(*recent, Use(key, now)))


@dataclass(frozen=True, slots=True)
class Binding:
    """Which cluster an id stands for.

    Attributes:
        uid: of the cluster's namespace kube-system.
        since: when its first agent joined.
    """

    uid: str
    since: datetime


class TokenFile:
    """The file. All that changes it is one step for others: a reader sees it before or after.

    Args:
        folder: of the authorities.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / TOKENS

    def create(
        self, cluster: str, pin: bytes, life: timedelta, uses: int, now: datetime, *, rebind: bool = False
    ) -> tuple[JoinToken, TokenRecord]:
        """Make a token and return it, for the only time, with what is kept of it.

        Args:
            cluster: the id that its agents get.
            pin: of the authority of the stub's certificate.
            life: how long it is good.
            uses: how many agents may join with it, up to `MOST_USES`.
            rebind: whether the cluster may come with another UID than the agents before: it was built anew.

        Raises:
            ValueError: `cluster` is no cluster id.
            CertificateProblem: the file is broken or cannot be written.
        """
        token = new_token(pin)
        now = now.replace(microsecond=0)
        record = TokenRecord(
            token.id, check_cluster(cluster), token.digest, now, now + life, uses, rebind=rebind
        )
        with self._changing(now) as content:
            content.tokens[record.id] = record
        return token, record

    def records(self) -> list[TokenRecord]:
        """Return every token that is good or was lately, the oldest first. Raises CertificateProblem."""
        return list(_read(self._path).tokens.values())

    def revoke(self, id: str, now: datetime) -> TokenRecord:
        """Let nobody else join with a token. Certificates that were given for it stay good.

        Raises:
            CertificateProblem: there is none of this id, or the file is broken or cannot be written.
        """
        with self._changing(now) as content:
            record = content.tokens.get(id)
            if record is None:
                raise CertificateProblem(f"{self._path}: there is no token {id!r}")
            content.tokens[id] = record = replace(
                record, revoked=record.revoked or now.replace(microsecond=0)
            )
        return record

    def redeem(self, token: JoinToken, key: str, uid: str, now: datetime, sign: Callable[[str], T]) -> T:
        """Count a use and return what `sign` makes for the token's cluster.

        Args:
            token: as it was presented.
            key: the fingerprint of the key that is to be signed. The same key again is the same use.
            uid: of the cluster the agent is in.
            sign: makes the certificate for a cluster id; where it raises nothing is counted.

        Raises:
            TokenRefused: the token is unknown, over, revoked or used up.
            OtherCluster: its id stands for another cluster than this.
            CertificateProblem: the file is broken or cannot be written.
        """
        with self._changing(now) as content:
            record = content.tokens.get(token.id)
            if record is None or not token.is_of(record.digest):
                raise TokenRefused("the join token is not known here; was it made for another stub?")
            repeated = record.repeats(key, now)
            problem = None if repeated else record.problem_at(now)
            if problem is not None:
                raise TokenRefused(f"the join token {record.id} {problem}")
            content.bind(record.cluster, uid, now, rebind=record.rebind and not record.used)
            signed = sign(record.cluster)
            if not repeated:
                content.tokens[record.id] = record.with_use(key, now)
        return signed

    def check_uid(self, cluster: str, uid: str, now: datetime) -> None:
        """Make sure that a cluster's id still stands for the cluster with this UID; one without any is bound to it.

        Raises:
            OtherCluster: it stands for another.
            CertificateProblem: the file is broken or cannot be written.
        """
        bound = _read(self._path).clusters.get(cluster)
        if bound is None or bound.uid != uid:
            with self._changing(now) as content:
                content.bind(cluster, uid, now, rebind=False)

    @contextmanager
    def _changing(self, now: datetime) -> Iterator["_Content"]:
        """Lend the content; it is written unless the block raises."""
        with files.locked_folder(self._folder):
            content = _read(self._path)
            yield content
            content.forget(now)
            files.replace_file(self._path, content.encoded(), files.PRIVATE)


@dataclass(slots=True)
class _Content:
    """What is in the file."""

    tokens: dict[str, TokenRecord] = field(default_factory=dict)
    clusters: dict[str, Binding] = field(default_factory=dict)

    def bind(self, cluster: str, uid: str, now: datetime, *, rebind: bool) -> None:
        bound = self.clusters.get(cluster)
        if bound is None or (rebind and bound.uid != uid):
            self.clusters[cluster] = Binding(uid, now.replace(microsecond=0))
        elif bound.uid != uid:
            raise OtherCluster(
                f"the id {cluster!r} belongs to another cluster, whose namespace kube-system has the UID {bound.uid} and not "
                f"{uid}; if the cluster was built anew, make a token with --rebind"
            )

    def forget(self, now: datetime) -> None:
        self.tokens = {id: record for id, record in self.tokens.items() if now - record.expires < KEPT}

    def encoded(self) -> bytes:
        shown = {
            "tokens": [_shown(record) for record in self.tokens.values()],
            "clusters": {
                name: {"uid": each.uid, "since": each.since.isoformat()}
                for name, each in self.clusters.items()
            },
        }
        return json.dumps(shown, indent=1).encode() + b"\n"


def _shown(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "cluster": record.cluster,
        "digest": record.digest,
        "created": record.created.isoformat(),
        "expires": record.expires.isoformat(),
        "uses": record.uses,
        "used": record.used,
        "recent": [{"key": use.key, "at": use.at.isoformat()} for use in record.recent],
        "revoked": None if record.revoked is None else record.revoked.isoformat(),
        "rebind": record.rebind,
    }


def _read(path: Path) -> _Content:
    try:
        text = read_bounded(path)
    except FileMissing:
        return _Content()
    try:
        content = json.loads(text)
        records = [_record(entry) for entry in content["tokens"]]
        clusters = {
            check_cluster(name): Binding(entry["uid"], parse_moment(entry["since"]))
            for name, entry in content["clusters"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CertificateProblem(
            f"{path}: is broken; without it every join token and binding is gone"
        ) from None
    return _Content({record.id: record for record in records}, clusters)


def _record(entry: Any) -> TokenRecord:
    return TokenRecord(
        id=str(entry["id"]),
        cluster=check_cluster(entry["cluster"]),
        digest=str(entry["digest"]),
        created=parse_moment(entry["created"]),
        expires=parse_moment(entry["expires"]),
        uses=int(entry["uses"]),
        used=int(entry["used"]),
        recent=tuple(Use(str(use["key"]), parse_moment(use["at"])) for use in entry["recent"]),
        revoked=None if entry["revoked"] is None else parse_moment(entry["revoked"]),
        rebind=bool(entry["rebind"]),
    )
