"""Settings: a frozen dataclass whose fields are flags, environment variables and YAML keys at once.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class StubSettings:
        listen: Address = setting(parse=values.address, default=Address("0.0.0.0", 8443), help="Where users connect.")

is `--listen`, `CTUN_LISTEN` and `listen:` in the file given by `--config` or `CTUN_CONFIG`. A flag wins over a variable, a
variable over the file, the file over the default. An empty variable counts as none, because charts and compose files set
variables that way. Every mistake is a `UsageError` that names the place it was made in.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, overload

from tunnel.kit import values
from tunnel.kit.configfile import ConfigFile, read_config_file
from tunnel.kit.failures import UsageError
from tunnel.kit.suggestions import did_you_mean
from tunnel.kit.values import Form

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S")

_KEY: Final = "tunnel.kit.settings"
_REQUIRED: Final[Any] = object()
_TYPING_MISTAKE: Final = 0.87
"""How alike a variable must be to a setting's to be taken for a misspelt one. Other variables stay, since they may be another command's,
or what Kubernetes sets for a Service called `ctun`; the most alike names of two commands, CTUN_USER and CTUN_USER_CA, have 0.857."""

HIDDEN: Final = "<hidden>"
"""What `render` shows in place of a secret."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """One field as the outside sees it."""

    name: str
    form: Form[Any]
    help: str
    default: Any
    short: str | None
    metavar: str | None
    repeatable: bool
    secret: bool
    choices: tuple[str, ...]
    environment: bool

    @property
    def key(self) -> str:
        return self.name.replace("_", "-")

    @property
    def flag(self) -> str:
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        return f"CTUN_{self.name.upper()}"


@dataclass(frozen=True, slots=True)
class _Given:
    """The texts given for a setting, and where."""

    source: str
    texts: Sequence[str]


# Declaring -------------------------------------------------------------------------------------


@overload
def setting(
    *,
    help: str,
    parse: Callable[[str], T],
    repeatable: Literal[True],
    default: tuple[T, ...] = ...,
    metavar: str | None = ...,
    short: str | None = ...,
    secret: bool = ...,
    environment: bool = ...,
) -> tuple[T, ...]: ...
@overload
def setting(
    *,
    help: str,
    parse: Callable[[str], T],
    default: D = ...,
    metavar: str | None = ...,
    short: str | None = ...,
    secret: bool = ...,
    environment: bool = ...,
) -> T | D: ...
@overload
def setting(
    *,
    help: str,
    default: T = ...,
    choices: Sequence[T] = ...,
    metavar: str | None = ...,
    short: str | None = ...,
    secret: bool = ...,
    environment: bool = ...,
) -> T: ...
def setting(
    *,
    help: str,
    parse: Callable[[str], Any] | None = None,
    default: Any = _REQUIRED,
    metavar: str | None = None,
    short: str | None = None,
    repeatable: bool = False,
    secret: bool = False,
    choices: Sequence[Any] = (),
    environment: bool = True,
) -> Any:
    """Return the dataclass field of a setting.

    Args:
        help: what it means, its unit and its effect; the default and the variable are added to it.
        parse: reads one text, raising ValueError that says what a right one looks like; None for plain text. A
            `values.Form` also knows its placeholder and how to write a value back.
        default: the value (not its text) where nothing is given; left out, the setting is required. For a repeatable
            setting left out means none.
        metavar: the placeholder in the help text, if not the form's.
        short: a one-letter flag, such as `-g`.
        repeatable: the flag may be given many times, the variable is separated by commas, the YAML value is a list;
            the field is a tuple.
        secret: never shown: not in `repr`, not by `render`, not in an error.
        choices: the texts allowed.
        environment: False where a variable must not be able to set it.
    """
    form = parse if isinstance(parse, Form) else Form(parse or str)
    if repeatable and default is _REQUIRED:
        default = ()
    declared = _Setting(
        "", form, help, default, short, metavar, repeatable, secret, tuple(choices), environment
    )
    if default is _REQUIRED:
        return dataclasses.field(repr=not secret, metadata={_KEY: declared})
    return dataclasses.field(default=default, repr=not secret, metadata={_KEY: declared})


def _settings(cls: type[Any]) -> Iterator[_Setting]:
    """The settings of `cls` itself first, then those it inherits: the general ones are the least interesting."""
    for field in sorted(dataclasses.fields(cls), key=lambda field: field.name not in cls.__annotations__):
        if _KEY in field.metadata:
            yield dataclasses.replace(field.metadata[_KEY], name=field.name)


# As flags --------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, cls: type[Any]) -> None:
    """Give `parser` a flag for every setting of `cls`, and `--config` and `--print-config`.

    The flags keep the texts as they were given: `load` reads them, so that all sources share one kind of error.
    """
    for each in _settings(cls):
        _add_argument(parser, each)
    parser.add_argument(
        "--config", metavar="FILE", help="a YAML file with these settings by name (CTUN_CONFIG)"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="show the resulting settings without secrets, and end"
    )


def _add_argument(parser: argparse.ArgumentParser, each: _Setting) -> None:
    flags = [each.flag] if each.short is None else [each.short, each.flag]
    text = _help(each).replace("%", "%%")
    if each.form is values.boolean:
        parser.add_argument(
            *flags, dest=each.name, action=argparse.BooleanOptionalAction, default=None, help=text
        )
        return
    metavar = each.metavar or "|".join(each.choices) or each.form.metavar
    action = "append" if each.repeatable else "store"
    parser.add_argument(*flags, dest=each.name, action=action, default=None, metavar=metavar, help=text)


def _help(each: _Setting) -> str:
    notes = ["repeatable"] if each.repeatable else []
    if each.default is _REQUIRED:
        notes.append("required")
    elif each.default not in ((), "") and not each.secret and _write(each, each.default):
        notes.append(f"default {_write(each, each.default)}")
    if each.environment:
        notes.append(f"{each.variable} with commas" if each.repeatable else each.variable)
    return f"{each.help} ({', '.join(notes)})" if notes else each.help


def _write(each: _Setting, value: Any) -> str:
    if value is None:
        return each.form.none or ""
    if each.repeatable:
        return ", ".join(each.form.write(one) for one in value)
    return each.form.write(value)


# Reading ---------------------------------------------------------------------------------------


def load(cls: type[S], options: argparse.Namespace, environ: Mapping[str, str]) -> S:
    """Return the settings that flags, environment and configuration file give together.

    Args:
        cls: the dataclass of settings.
        options: what a parser prepared by `add_arguments` returned. `options.command`, where it is there, is the section
            of the file that is read beside its top level; `options.sections` the sections of other commands, left alone.
        environ: the environment.

    Raises:
        UsageError: a value, a key, a variable's name or the file is wrong, or a required setting is missing.
    """
    known = list(_settings(cls))
    _check_variables(known, environ)
    file = _open_file(options, environ, [each.key for each in known])
    found = {each.name: _value(each, options, environ, file) for each in known}
    return cls(**{name: value for name, value in found.items() if value is not _REQUIRED})


def _check_variables(known: Sequence[_Setting], environ: Mapping[str, str]) -> None:
    """A rule that was meant to be set and silently is not may let in everybody."""
    variables = {each.variable for each in known} | {"CTUN_CONFIG"}
    for name, value in environ.items():
        if value and name.startswith("CTUN_") and name not in variables:
            hint = did_you_mean(name, variables, _TYPING_MISTAKE)
            if hint:
                raise UsageError(f"{name}: there is no such setting{hint}")


def _open_file(
    options: argparse.Namespace, environ: Mapping[str, str], known: Sequence[str]
) -> ConfigFile | None:
    flag = getattr(options, "config", None)
    name = flag or environ.get("CTUN_CONFIG")
    if not name:
        return None
    section, others = getattr(options, "command", None), getattr(options, "sections", ())
    return read_config_file(name, "--config" if flag else "CTUN_CONFIG", known, section, others)


def _value(
    each: _Setting, options: argparse.Namespace, environ: Mapping[str, str], file: ConfigFile | None
) -> Any:
    given = _from_flag(each, options) or _from_environment(each, environ) or _from_file(each, file)
    if given is not None:
        return _parse(each, given)
    if each.default is _REQUIRED:
        raise UsageError(f"{each.flag} is missing: {_how_to_give(each)}")
    return each.default


def _how_to_give(each: _Setting) -> str:
    variable = f"{each.variable} or " if each.environment else ""
    return f"give {each.flag} {each.metavar or each.form.metavar}, {variable}'{each.key}:' in the configuration file"


def _from_flag(each: _Setting, options: argparse.Namespace) -> _Given | None:
    value = getattr(options, each.name, None)
    if value is None:
        return None
    if isinstance(value, bool):
        value = str(value).lower()
    return _Given(each.flag, value if isinstance(value, list) else [value])


def _from_environment(each: _Setting, environ: Mapping[str, str]) -> _Given | None:
    value = environ.get(each.variable, "")
    if not value or not each.environment:
        return None
    parts = [part.strip() for part in value.split(",")] if each.repeatable else [value]
    return _Given(each.variable, [part for part in parts if part])


def _from_file(each: _Setting, file: ConfigFile | None) -> _Given | None:
    value = file.values.get(each.key) if file else None
    if file is None or value is None:
        return None
    source = file.source(each.key)
    if isinstance(value, list) and not each.repeatable:
        raise UsageError(f"{source}: one value is needed, not a list")
    return _Given(source, value if isinstance(value, list) else [value])


def _parse(each: _Setting, given: _Given) -> Any:
    read = tuple(_parse_one(each, given.source, text) for text in given.texts)
    return read if each.repeatable else read[0]


def _parse_one(each: _Setting, source: str, text: str) -> Any:
    if each.choices and text not in each.choices:
        hint = did_you_mean(text, each.choices)
        raise UsageError(f"{source}: {text!r} is none of {', '.join(each.choices)}{hint}")
    try:
        return each.form.read(text)
    except ValueError as error:
        if each.secret:
            raise UsageError(f"{source}: not a valid {each.metavar or each.form.metavar}") from None
        raise UsageError(f"{source}: {error}") from error


# Showing ---------------------------------------------------------------------------------------


def render(settings: object) -> str:
    """Return `settings` as YAML that `--config` takes again, save that secrets are hidden."""
    import yaml  # 15 ms that a command without a configuration file should not pay

    shown = {each.key: _shown(each, getattr(settings, each.name)) for each in _settings(type(settings))}
    return yaml.safe_dump(shown, sort_keys=False, default_flow_style=False, allow_unicode=True)


def _shown(each: _Setting, value: Any) -> Any:
    if each.secret and value:
        return HIDDEN
    if each.repeatable:
        return [each.form.write(one) for one in value]
    if value is None or isinstance(value, bool) or (isinstance(value, int) and each.form.write is str):
        return each.form.none if value is None else value
    return each.form.write(value)
