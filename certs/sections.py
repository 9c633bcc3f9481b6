"""Typed access to the parts of a kubeconfig, with errors that say where in which file something is wrong."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from certs.errors import CertificateProblem
from certs.pem import PemFile, PemSource, PemText, read_bounded
from tunnel.kit.suggestions import did_you_mean

NAMES_SHOWN: Final = 10


class _TextLoader(yaml.SafeLoader):
    """Leaves all but null as the text it is: to Kubernetes the user `007` is not a number, nor the token `1e3`."""


_TextLoader.yaml_implicit_resolvers = {}
_TextLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)
_TextLoader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), ["<"])


def load_section(path: Path) -> "Section":
    """Return the root of a kubeconfig.

    Raises:
        CertificateProblem: it cannot be read, or is not a YAML or JSON mapping.
    """
    content = read_bounded(path)
    try:
        root = _TextLoader(content).get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        raise CertificateProblem(f"{path}: is not YAML: {yaml_reason(error)}") from None
    if not isinstance(root, dict):
        raise CertificateProblem(f"{path}: is not a kubeconfig: not a mapping")
    return Section(root, str(path), path.parent)


def yaml_reason(error: Exception) -> str:
    """Return what is wrong and in which line, without quoting the text, which may hold a secret."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return "nested too deeply" if isinstance(error, RecursionError) else "not a text in UTF-8"


class Section:
    """One mapping of the file.

    Args:
        values: its content.
        where: what errors call it.
        folder: where relative paths in it start.
    """

    def __init__(self, values: Mapping[Any, Any], where: str, folder: Path) -> None:
        self._values = values
        self.where = where
        self._folder = folder

    def has(self, key: str) -> bool:
        """Whether the key is there and not empty."""
        return self._values.get(key) not in (None, "", [], {})

    def text(self, key: str) -> str | None:
        """Return a text, or None where it is absent or empty."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, str):
            raise CertificateProblem(f"{self.where}: {key} is not a text")
        return value or None

    def needed(self, key: str) -> str:
        """Return a text that must be there."""
        value = self.text(key)
        if value is None:
            raise CertificateProblem(f"{self.where}: {key} is missing")
        return value

    def choice(self, key: str, allowed: Sequence[str], default: str | None) -> str:
        """Return one of `allowed`; absent it is `default`, or an error where that is None."""
        value = self.text(key) or default
        if value is None or value not in allowed:
            raise CertificateProblem(f"{self.where}: {key} is not one of {', '.join(allowed)}")
        return value

    def flag(self, key: str) -> bool:
        """Return a truth value, false where it is absent."""
        value = self.text(key) or "false"
        if value not in ("true", "false"):
            raise CertificateProblem(f"{self.where}: {key} is neither true nor false")
        return value == "true"

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty where it is absent."""
        items = self._list(key)
        if not all(isinstance(item, str) for item in items):
            raise CertificateProblem(f"{self.where}: {key} is not a list of texts")
        return tuple(items)

    def path(self, key: str) -> Path | None:
        """Return a path, from the file's own folder where it is relative."""
        value = self.text(key)
        return self._folder / value if value else None

    def program(self, key: str) -> str:
        """Return a program's name, or its path, from the file's own folder where it is relative and not only a name."""
        value = self.needed(key)
        return str((self._folder / value).absolute()) if "/" in value else value

    def source(self, key: str) -> PemSource | None:
        """Return what `key`-data holds in base64, or the file that `key` names; data goes first, as with kubectl."""
        data = self.text(f"{key}-data")
        if data is None:
            path = self.path(key)
            return PemFile(path) if path else None
        try:
            return PemText(
                f"{self.where}: {key}-data", base64.b64decode("".join(data.split()), validate=True)
            )
        except (binascii.Error, ValueError):
            raise CertificateProblem(f"{self.where}: {key}-data is not base64") from None

    def section(self, key: str) -> "Section":
        """Return a mapping that must be there."""
        return self._child(self._values.get(key), f"{self.where}: {key}")

    def sections(self, key: str) -> list["Section"]:
        """Return a list of mappings, empty where it is absent."""
        return [
            self._child(item, f"{self.where}: {key}[{index}]") for index, item in enumerate(self._list(key))
        ]

    def named(self, key: str, name: str, inner: str) -> "Section":
        """Return the mapping under `inner` in that item of the list `key` whose name is `name`.

        Raises:
            CertificateProblem: there is none; the text shows which names there are.
        """
        items = {item.text("name") or "": item for item in reversed(self.sections(key))}
        if name not in items:
            raise CertificateProblem(
                f"{self.where}: there is no {inner} {name!r}{_alternatives(name, items)}"
            )
        return self._child(items[name]._values.get(inner), f"{self.where}: {inner} {name!r}")

    def _child(self, value: Any, where: str) -> "Section":
        if not isinstance(value, dict):
            raise CertificateProblem(f"{where} is not a mapping")
        return Section(value, where, self._folder)

    def _list(self, key: str) -> list[Any]:
        value = self._values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise CertificateProblem(f"{self.where}: {key} is not a list")
        return value


def _alternatives(name: str, items: Mapping[str, Section]) -> str:
    if not items:
        return "; it has none"
    guess = did_you_mean(name, items)
    shown = ", ".join(list(items)[::-1][:NAMES_SHOWN])
    more = ", …" if len(items) > NAMES_SHOWN else ""
    return f"{guess}; it has {shown}{more}"
