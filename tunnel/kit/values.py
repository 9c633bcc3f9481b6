"""The kinds of value a setting can have: how each is read from text, written back, and shown in a help text."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How values of one kind look as text. Calling it reads a text.

    Attributes:
        read: returns the value of a text, or raises ValueError saying what a right one looks like.
        write: the text that `read` would turn into the value again.
        metavar: the placeholder in a help text.
        none: the text that stands for None, where the form has one.
    """

    read: Callable[[str], T]
    write: Callable[[T], str] = str
    metavar: str = "TEXT"
    none: str | None = None

    def __call__(self, text: str) -> T:
        """Return `read(text)`."""
        return self.read(text)


def optional(form: Form[T]) -> Form[T | None]:
    """Return `form` with `off` as one more value, read as None."""

    off = "off"

    def read(text: str) -> T | None:
        return None if text == off else form.read(text)

    def write(value: T | None) -> str:
        return off if value is None else form.write(value)

    return Form(read, write, f"{form.metavar}|{off}", none=off)


# Addresses -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host name or IP address and a TCP port. An empty host stands for all local addresses; port 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


_HOST: Final = re.compile(r"[A-Za-z0-9_.-]*\Z")
_ADDRESS_HINT: Final = "give HOST:PORT, such as 0.0.0.0:8443, [::1]:8443 or :8443"


def _read_address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address: {_ADDRESS_HINT}")
    return Address(_read_host(host, text), int(port))


def _read_host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"{text!r} is not an address: {host} is no IPv6 address") from None
    if not _HOST.match(host):
        raise ValueError(f"{text!r} is not an address: {_ADDRESS_HINT}")
    return host


def _read_endpoint(text: str) -> Address:
    endpoint = _read_address(text)
    if not endpoint.host or not endpoint.port:
        raise ValueError(f"{text!r} cannot be dialled: give a host and a port, such as stub.example.com:8443")
    return endpoint


address: Final = Form(_read_address, metavar="HOST:PORT")
"""Where to listen."""

endpoint: Final = Form(_read_endpoint, metavar="HOST:PORT")
"""Where to dial to: neither the host nor the port may be left open."""


def _read_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{text!r} is not a URL: give one such as https://10.0.0.1:6443")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the URL must hold no user name, query or fragment")
    return text.rstrip("/")


url: Final = Form(_read_url, metavar="URL")
"""An http or https URL without credentials, query and fragment; a trailing slash is dropped."""


# Times and sizes -------------------------------------------------------------------------------

_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION: Final = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in _UNITS) + r"\Z", re.ASCII)


def _read_duration(text: str) -> float:
    match = _DURATION.match(text)
    if text == "0":
        return 0.0
    if match is None or not text:
        raise ValueError(
            f"{text!r} is not a duration: give a number with its unit, such as 30s, 5m, 1h30m or 90d"
        )
    return sum(float(n) * seconds for n, seconds in zip(match.groups("0"), _UNITS.values(), strict=True))


def _write_duration(seconds: float) -> str:
    rest = round(seconds * 1000)
    text = ""
    for unit, length in _UNITS.items():
        count, rest = divmod(rest, round(length * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


duration: Final = Form(_read_duration, _write_duration, "DURATION")
"""A time in seconds, written with its unit; to the millisecond."""


def _read_timeout(text: str) -> float:
    seconds = _read_duration(text)
    if not seconds:
        raise ValueError(f"{text!r} leaves no time at all: give more than 0, such as 10s")
    return seconds


timeout: Final = Form(_read_timeout, _write_duration, "DURATION")
"""A time in seconds after which something is given up; never 0."""

_SIZES: Final = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "B": 1}
_SIZE: Final = re.compile(r"(\d+)(GiB|MiB|KiB|B)?\Z", re.ASCII)


def _read_size(text: str) -> int:
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size: give a whole number of B, KiB, MiB or GiB, such as 64KiB")
    return int(match[1]) * _SIZES[match[2] or "B"]


def _write_size(value: int) -> str:
    unit = next(unit for unit, factor in _SIZES.items() if value % factor == 0 and (value or unit == "B"))
    return f"{value // _SIZES[unit]}{unit}"


size: Final = Form(_read_size, _write_size, "SIZE")
"""A number of bytes."""


def count(minimum: int = 0, maximum: int = 1_000_000) -> Form[int]:
    """Return the form of a whole number from `minimum` to `maximum`, both included."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 12) or not minimum <= int(text) <= maximum:
            raise ValueError(f"{text!r} is not a whole number from {minimum} to {maximum}")
        return int(text)

    return Form(read, metavar="N")


# The rest --------------------------------------------------------------------------------------

_BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _read_boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError(f"{text!r} is neither true nor false")
    return value


boolean: Final = Form(_read_boolean, lambda value: str(value).lower(), "true|false")
"""A switch."""

text: Final[Form[str]] = Form(str)
"""Any text."""


def _read_file(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError(f"{text}: {'is not a file' if path.exists() else 'there is no such file'}")
    return path


def _read_folder(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_dir():
        raise ValueError(f"{text}: {'is not a folder' if path.exists() else 'there is no such folder'}")
    return path


existing_file: Final = Form(_read_file, metavar="FILE")
"""The path of a file that is there now; `~` is the home folder."""

existing_folder: Final = Form(_read_folder, metavar="DIR")
"""The path of a folder that is there now."""

path: Final[Form[Path]] = Form(lambda text: Path(text).expanduser(), metavar="PATH")
"""A path that need not be there yet."""
