"""A configuration file: YAML whose keys are the names of flags, at the top level or under a command's name.

    log-level: debug
    stub:
      listen: 0.0.0.0:8443

Scalars stay texts, as flags are: YAML would read `007` as 7 and `no` as false.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunnel.kit.failures import UsageError
from tunnel.kit.suggestions import did_you_mean

_MAX_BYTES: Final = 1024 * 1024
_NULL: Final = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a configuration file says to one command: by key a text, a list of texts, or None for `null`."""

    name: str
    values: Mapping[str, str | list[str] | None]

    def source(self, key: str) -> str:
        """Return how errors name the place of `key`."""
        return f"{self.name}: {key}"


def read_config_file(
    name: str, given_by: str, known: Iterable[str], section: str | None, sections: Collection[str]
) -> ConfigFile:
    """Read the file `name`.

    Args:
        name: its path.
        given_by: the flag or variable that named it, for errors about the file itself.
        known: the keys the command knows.
        section: the command, whose own section overrides the top level.
        sections: all commands; their sections are no mistake here.

    Raises:
        UsageError: the file cannot be read, is no YAML mapping, or holds an unknown key.
    """
    content = _parse(name, _read(name, given_by))
    known = list(known)
    top, own = _split(name, content, section, {*sections, *([section] if section else [])})
    values = {key: _value(name, key, value) for key, value in [*top.items(), *own.items()]}
    for key in values:
        if key not in known:
            raise UsageError(f"{name}: unknown key {key!r}{did_you_mean(key, known)}")
    return ConfigFile(name, values)


def _read(name: str, given_by: str) -> bytes:
    try:
        with Path(name).expanduser().open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{given_by}: {name} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{given_by}: {name} is larger than 1 MiB and so no configuration file")
    return data


def _parse(name: str, data: bytes) -> dict[Any, Any]:
    import yaml

    class Texts(yaml.SafeLoader):
        """Safe YAML that knows no scalars but texts and null."""

        yaml_implicit_resolvers = {  # noqa: RUF012 the base class declares an instance variable
            first: [pair for pair in pairs if pair[0] == _NULL]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        content = yaml.load(data, Loader=Texts)  # noqa: S506 it is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise UsageError(f"{name}: not valid YAML{where}: {problem}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{name}: must hold settings by name, such as 'listen: 0.0.0.0:8443'")
    return content


def _split(
    name: str, content: dict[Any, Any], section: str | None, sections: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the top level and the section of the command. `stub:` is an agent's setting and a section: only a mapping
    is a section."""
    top: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in content.items():
        if not isinstance(value, dict):
            top[str(key)] = value
        elif key not in sections:
            raise UsageError(f"{name}: unknown section {str(key)!r}{did_you_mean(str(key), sections)}")
        elif key == section:
            own = {str(inner): each for inner, each in value.items()}
    return top, own


def _value(name: str, key: str, value: Any) -> str | list[str] | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise UsageError(f"{name}: {key}: a value or a list of values is needed, nothing nested")
