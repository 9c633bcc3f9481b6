"""A YAML file that holds rules: read once, read again when its content changes, and never half believed."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from tunnel.kit.failures import UsageError
from tunnel.kit.watched import WatchedFiles

RELOAD_SECONDS: Final = 5.0
"""How old rules may be that are applied. A ConfigMap takes up to a minute to arrive in a Pod anyway."""

Rules = TypeVar("Rules")

_log = logging.getLogger(__name__)


class DocumentFault(ValueError):
    """Bytes are no YAML, or YAML that two readers would take for different things."""


def read_yaml(data: bytes) -> object:
    """Return the one document in `data` as plain mappings, lists and scalars.

    Raises:
        DocumentFault: it is no YAML, or a key stands twice: YAML keeps the last one, and a rule would be gone without a word.
    """
    import yaml

    try:
        content: object = yaml.load(data, Loader=_loader())  # noqa: S506 it is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise DocumentFault(f"not valid YAML{where}: {problem}") from error
    return content


def _loader() -> Any:
    import yaml

    class OnceOnly(yaml.SafeLoader):
        """Safe YAML that refuses a key that stands twice, and merge keys, which hide where a value comes from."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value == "<<" or (isinstance(key.value, str) and key.value in seen):
                    fault = "merge keys are not read" if key.value == "<<" else f"{key.value!r} stands twice"
                    raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
                if isinstance(key.value, str):
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    return OnceOnly


class RulesFile(Generic[Rules]):
    """A file with rules.

    Args:
        path: the file.
        parse: makes rules of `read_yaml`'s result; raises ValueError that names the place of a fault.
        given_by: the flag that named the file.
        interval_seconds: how often it is looked at.

    Raises:
        UsageError: it cannot be read now, or is wrong.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[object], Rules],
        given_by: str,
        interval_seconds: float = RELOAD_SECONDS,
    ) -> None:
        self._path = path
        self._parse = parse
        self._given_by = given_by
        self._files = WatchedFiles([path], interval_seconds)
        self._fault: str | None = None
        self._said: str | None = None
        contents = self._files.look()
        if contents is None:
            raise UsageError(f"{given_by} {self._files.problem}")
        try:
            self._rules = parse(read_yaml(contents[0]))
        except ValueError as fault:
            raise UsageError(f"{given_by} {path}: {fault}") from fault
        self._files.accept(contents)

    @property
    def problem(self) -> str | None:
        """Why the file as it is now is not what is in force; None where it is."""
        return self._files.problem or self._fault

    def current(self, now: float) -> Rules:
        """Return the rules in force: the file's, or, while what is there now is wrong, the last ones that were right.

        Args:
            now: seconds on a clock that never goes back.
        """
        contents = self._files.check(now)
        if contents is not None:
            self._replace(contents)
        if self.problem != self._said:
            self._say(self.problem)
        return self._rules

    def _replace(self, contents: tuple[bytes, ...]) -> None:
        # Taken as seen even where they are wrong, so that each content is parsed and complained about once.
        self._files.accept(contents)
        try:
            self._rules = self._parse(read_yaml(contents[0]))
        except ValueError as fault:
            self._fault = f"{self._path}: {fault}"
        else:
            self._fault = None
            _log.info("new rules are in force", extra={"flag": self._given_by, "file": str(self._path)})

    def _say(self, problem: str | None) -> None:
        self._said = problem
        if problem is not None:
            text = "the rules cannot be used; the last ones stay in force"
            _log.error(text, extra={"flag": self._given_by, "reason": problem})
