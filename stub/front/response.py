"""What of an agent's answer a client may see: every check of its head."""

from typing import TYPE_CHECKING, Final

from stub.front.admission import Admitted
from tunnel.core.errors import PeerViolation
from tunnel.core.http.fields import check_peer_fields
from tunnel.core.http.location import with_own_location
from tunnel.core.http.render import field_lines
from tunnel.core.http.upgrade import (
    UpgradeOutcome,
    check_plain_status,
    check_upgrade_response,
    upgrade_outcome,
)
from tunnel.core.wire.exchange import Head

if TYPE_CHECKING:
    from stub.front.office import FrontOffice

_NO_BODY_STATUS: Final = (204, 304)


def checked_lines(office: "FrontOffice", method: bytes, admitted: Admitted, head: Head) -> bytes:
    """Return the fields of an answer as lines, without what is not the client's.

    Args:
        method: of the request.
        admitted: what was asked.
        head: of the answer.

    Raises:
        Refusal: the answer is not relayed, such as a redirect behind an upgrade.
        PeerViolation: it is not HTTP.
    """
    response = head.response
    if admitted.upgrade is None:
        check_plain_status(response.status)
    elif upgrade_outcome(response.status) is UpgradeOutcome.SPLICE:
        check_upgrade_response(admitted.upgrade, response)
    must_be_bodiless = method == b"HEAD" or response.status in _NO_BODY_STATUS
    if response.status != 101 and head.bodiless != must_be_bodiless:
        raise PeerViolation(f"status {response.status} with a body where none may be, or the reverse")
    lines = office.answer_shapes.lines(response.block)
    if lines is None:
        check_peer_fields(response.fields)
        fields = office.sanitise_answer(response.fields)
        lines = field_lines(with_own_location(fields, b"", admitted.prefix, target=admitted.head.target))
    return lines
