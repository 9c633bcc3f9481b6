"""The head of a request that wants to become a stream, and what its path and query ask for."""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

from tests.kubesim.containers import PodName

Subresource = Literal["exec", "attach", "portforward"]
_SUBRESOURCES: Final[dict[str, Subresource]] = {
    "exec": "exec",
    "attach": "attach",
    "portforward": "portforward",
}


class NotAStream(Exception):
    """The path is none of exec, attach and portforward of a pod."""


@dataclass(frozen=True, slots=True)
class StreamTarget:
    """What a path names: `/api/v1/namespaces/NAMESPACE/pods/NAME/SUBRESOURCE`."""

    pod: PodName
    subresource: Subresource


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """What the query of an exec or attach asks for.

    Attributes:
        container: None where the pod's default is meant.
        command: the argument vector, empty for attach.
    """

    container: str | None
    command: list[str]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """The head as it was received.

    Attributes:
        method: such as `POST`.
        path: without the query, percent-escapes as received.
        query: decoded pairs, in order.
        headers: in order, repeated names repeated; values without the white space around them.
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]

    def header(self, name: str) -> str:
        """Return the first value of a header, in any case, or nothing."""
        return next(iter(self.header_values(name)), "")

    def header_values(self, name: str) -> list[str]:
        """Return a header's values, one for each time it was sent."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header_list(self, name: str) -> list[str]:
        """Return the elements of a comma-separated header that may be repeated, in order."""
        parts = (part.strip() for value in self.header_values(name) for part in value.split(","))
        return [part for part in parts if part]

    def query_values(self, name: str) -> list[str]:
        """Return the values of a query key, in order."""
        return [value for key, value in self.query if key == name]

    @property
    def wants_upgrade(self) -> bool:
        """Whether `Connection` holds the word `upgrade` anywhere, which is all the apiserver looks at."""
        return any("upgrade" in value.lower() for value in self.header_values("connection"))

    @property
    def wants_websocket(self) -> bool:
        """Whether the upgrade is one to WebSocket."""
        return self.wants_upgrade and self.header("upgrade").lower() == "websocket"

    def target(self) -> StreamTarget:
        """Return what the path names.

        Raises:
            NotAStream: something else.
        """
        match [unquote(part) for part in self.path.split("/")]:
            case ["", "api", "v1", "namespaces", namespace, "pods", name, last] if last in _SUBRESOURCES:
                return StreamTarget(PodName(namespace, name), _SUBRESOURCES[last])
        raise NotAStream(self.path)

    def command_options(self) -> CommandOptions:
        """Return what the query of an exec or attach asks for. A terminal has no stderr of its own."""
        tty = self._flag("tty")
        containers = [name for name in self.query_values("container") if name]
        return CommandOptions(
            container=containers[0] if containers else None,
            command=self.query_values("command"),
            stdin=self._flag("stdin"),
            stdout=self._flag("stdout"),
            stderr=self._flag("stderr") and not tty,
            tty=tty,
        )

    def _flag(self, name: str) -> bool:
        values = self.query_values(name)
        # A bare `stdin` or `stdin=` counts as set; only these two words switch it off.
        return bool(values) and values[0].lower() not in ("0", "false")
