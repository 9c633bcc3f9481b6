"""Whether a user may act as somebody else (`kubectl --as`): the cluster's own rules decide, as if the user had asked there directly.

The agent may impersonate anybody. So for each part of the other identity it asks the apiserver for a SubjectAccessReview about the
user, before the request is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from agent.caller import is_remembered
from agent.upstream.posting import NotCreated, Once, Posts
from tunnel.core.errors import BadGateway, Forbidden
from tunnel.core.identity import Identity

PERMITTED_SECONDS: Final = 10.0
"""How long a permission holds without being asked for again. The apiserver's own authorisers remember for longer."""

REVIEW_SECONDS: Final = 10.0
"""For all reviews of one identity together."""

MOST_PARTS: Final = 16
"""User, groups, uid and extra values of the other identity; each is a review."""

CACHED_PERMISSIONS: Final = 1024

PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_AUTHENTICATION: Final = "authentication.k8s.io"
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_WHAT: Final = "an access review"


class Permission:
    """One user's permission to act as one other identity.

    Args:
        review: asks the apiserver. Raises Refusal.
    """

    def __init__(self, review: Callable[[], Awaitable[None]]) -> None:
        self._review = review
        self._loop = asyncio.get_running_loop()
        self._good_until = float("-inf")
        self._once = Once(self._ask)

    def ready(self, now: float) -> bool:
        """Whether it holds at a monotonic time in seconds; else `renew` comes first."""
        return now < self._good_until

    async def renew(self) -> None:
        """Ask for it. Requests that need it together wait for one answer.

        Raises:
            Refusal: it is not given, in words for the user.
        """
        await self._once.answered()

    async def _ask(self) -> None:
        asked_at = self._loop.time()
        await self._review()
        self._good_until = asked_at + PERMITTED_SECONDS


class Reviews:
    """All permissions asked for lately.

    Args:
        posts: asks, with the agent's own credential.
    """

    def __init__(self, posts: Posts) -> None:
        self._posts = posts
        self._known: dict[tuple[Identity, Identity], Permission] = {}

    def of(self, user: Identity, acting: Identity) -> Permission:
        """Return the permission of a user to act as another.

        Raises:
            Forbidden: that other one has too many parts to ask about.
        """
        permission = self._known.get((user, acting))
        if permission is None:
            parts = list(_parts(acting))
            if len(parts) > MOST_PARTS:
                raise Forbidden(f"kubectl --as with {len(parts)} names, the limit is {MOST_PARTS}")
            if len(self._known) >= CACHED_PERMISSIONS:
                self._known.clear()
            permission = Permission(lambda: self._review(user, parts))
            if is_remembered(user) and is_remembered(acting):
                self._known[user, acting] = permission
        return permission

    async def _review(self, user: Identity, parts: list[dict[str, str]]) -> None:
        try:
            async with asyncio.timeout(REVIEW_SECONDS):
                for part in parts:
                    await self._require(user, part)
        except TimeoutError:
            raise BadGateway(f"{_WHAT} cannot be had: it took longer than {REVIEW_SECONDS:g} s") from None

    async def _require(self, user: Identity, part: dict[str, str]) -> None:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {**_subject(user), "resourceAttributes": {"verb": "impersonate", **part}},
        }
        try:
            answer: Any = await self._posts.create(PATH, body, _WHAT)
        except NotCreated as refused:
            raise _unanswered(refused) from None
        if not _is_allowed(answer):
            raise Forbidden(
                f"the cluster does not let you act as {part['resource']} {part['name'][:64]!a} (kubectl --as): it needs the verb "
                "impersonate there"
            )


def _subject(user: Identity) -> dict[str, object]:
    """The user as the apiserver would know one that comes by itself, whom it puts into one group more."""
    found: dict[str, object] = {"user": user.user, "groups": [*user.groups, "system:authenticated"]}
    if user.uid is not None:
        found["uid"] = user.uid
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra}
    return found


def _parts(acting: Identity) -> Iterator[dict[str, str]]:
    """What the apiserver would ask about each part of an identity that is to be impersonated."""
    namespace, colon, name = acting.user.removeprefix(_SERVICE_ACCOUNT).partition(":")
    if acting.user.startswith(_SERVICE_ACCOUNT) and colon and ":" not in name:
        yield {"resource": "serviceaccounts", "namespace": namespace, "name": name}
    else:
        yield {"resource": "users", "name": acting.user}
    for group in acting.groups:
        yield {"resource": "groups", "name": group}
    if acting.uid is not None:
        yield {"group": _AUTHENTICATION, "resource": "uids", "name": acting.uid}
    for key, values in acting.extra:
        for value in values:
            yield {"group": _AUTHENTICATION, "resource": "userextras", "subresource": key, "name": value}


def _is_allowed(answer: Any) -> bool:
    # Nothing but a plain yes: `denied` and an evaluation error come with false.
    status = answer.get("status") if isinstance(answer, dict) else None
    return isinstance(status, dict) and status.get("allowed") is True


def _unanswered(refused: NotCreated) -> BadGateway | Forbidden:
    if refused.status == 403:
        return Forbidden(
            "the agent may not ask who may act as whom; the cluster's owner can grant it create on "
            "subjectaccessreviews.authorization.k8s.io"
        )
    return BadGateway(f"{_WHAT} cannot be had: {refused}")
