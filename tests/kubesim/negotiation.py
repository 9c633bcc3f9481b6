"""Content negotiation: which of the API's forms a client is shown objects in."""

from dataclasses import dataclass
from typing import Final

from tests.kubesim import status
from tests.kubesim.http import Request
from tests.kubesim.watch import View

_AVAILABLE: Final = (
    "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
    "application/vnd.kubernetes.protobuf, application/json;stream=watch, "
    "application/vnd.kubernetes.protobuf;stream=watch"
)
_FORMS: Final = {
    "Table": "table",
    "PartialObjectMetadata": "metadata",
    "PartialObjectMetadataList": "metadata",
}


@dataclass(frozen=True, slots=True)
class MediaType:
    """One element of an Accept header."""

    name: str
    parameters: dict[str, str]


def accepted(request: Request) -> list[MediaType]:
    """Return the media types a client accepts, in its order; everything where it says nothing."""
    found = []
    for part in ",".join(request.header_values("accept")).split(","):
        name, *rest = (piece.strip() for piece in part.split(";"))
        pairs = (piece.partition("=") for piece in rest)
        if name:
            found.append(MediaType(name.lower(), {key: value for key, _, value in pairs}))
    return found or [MediaType("*/*", {})]


def view_of(request: Request) -> View:
    """Return the form that a client's Accept asks for first.

    Raises:
        ApiError: 406, it accepts none of them.
    """
    for media in accepted(request):
        if media.name not in ("application/json", "application/yaml", "application/*", "*/*"):
            continue
        wanted = media.parameters.get("as")
        if wanted is None:
            return View()
        group, version = media.parameters.get("g"), media.parameters.get("v")
        if wanted in _FORMS and (group, version) == ("meta.k8s.io", "v1"):
            return View(_FORMS[wanted], request.query("includeObject", "Metadata"))
    raise status.ApiError(406, "NotAcceptable", _AVAILABLE, {})


def discovery_version(request: Request) -> str | None:
    """Return `v2` or `v2beta1` where the client asks for aggregated discovery, None for the legacy lists."""
    for media in accepted(request):
        if media.parameters.get("as") == "APIGroupDiscoveryList" and media.name == "application/json":
            version = media.parameters.get("v")
            if version in ("v2", "v2beta1"):
                return version
        elif media.name in ("application/json", "*/*"):
            return None
    return None
