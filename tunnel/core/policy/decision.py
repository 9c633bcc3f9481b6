"""What a policy says about a request."""

from typing import NamedTuple


class Decision(NamedTuple):
    """The answer to one request.

    Attributes:
        allowed: whether it may pass.
        rule: what decided, as messages name it.
        reason: why, in words for the user.
        reaches: whether the identity may reach the cluster at all, with this or another request.
    """

    allowed: bool
    rule: str
    reason: str = ""
    reaches: bool = True
