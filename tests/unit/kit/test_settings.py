"""Settings by flag, variable, file and default."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pytest

from tunnel.kit import values
from tunnel.kit.failures import UsageError
from tunnel.kit.settings import HIDDEN, add_arguments, load, render, setting
from tunnel.kit.values import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class General:
    log_level: Literal["info", "debug"] = setting(choices=("info", "debug"), default="info", help="Lines.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(General):
    listen: Address = setting(parse=values.address, default=Address("", 1), help="Where, at 100%.")
    admin: Address | None = setting(parse=values.optional(values.address), default=None, help="Admin.")
    grace: float = setting(parse=values.duration, default=30.0, help="How long.")
    stub: tuple[Address, ...] = setting(parse=values.endpoint, repeatable=True, short="-s", help="Whom.")
    cookies: bool = setting(parse=values.boolean, default=False, help="Cookies.")
    workers: int = setting(parse=values.count(1), default=3, help="How many.")
    token: str = setting(parse=values.text, default="", secret=True, help="Secret.")
    where: Path | None = setting(parse=values.path, default=None, environment=False, help="Not by variable.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needy:
    pin: int = setting(parse=values.count(1000, 9999), secret=True, help="Required.")


def parse(cls: type, *flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser, cls)
    return parser.parse_args(flags)


def loaded(*flags: str, environ: Mapping[str, str] | None = None, command: str = "sample") -> Sample:
    options = parse(Sample, *flags)
    options.command, options.sections = command, ("sample", "stub")
    return load(Sample, options, environ or {})


def config(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


# Where a value comes from ----------------------------------------------------------------------


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = config(tmp_path, "grace: 1s")
    assert loaded().grace == 30
    assert loaded("--config", file).grace == 1
    assert loaded("--config", file, environ={"CTUN_GRACE": "2s"}).grace == 2
    assert loaded("--config", file, "--grace", "3s", environ={"CTUN_GRACE": "2s"}).grace == 3


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    assert loaded(environ={"CTUN_CONFIG": config(tmp_path, "grace: 1s")}).grace == 1


def test_a_repeatable_setting_is_repeated_separated_by_commas_or_a_list(tmp_path: Path) -> None:
    both = (Address("a", 1), Address("b", 2))
    assert loaded("-s", "a:1", "--stub", "b:2").stub == both
    assert loaded(environ={"CTUN_STUB": "a:1, b:2,"}).stub == both
    assert loaded("--config", config(tmp_path, "stub: ['a:1', 'b:2']")).stub == both
    assert loaded("--config", config(tmp_path, "stub: a:1")).stub == both[:1]
    assert loaded().stub == ()


def test_a_switch_is_set_and_unset_everywhere(tmp_path: Path) -> None:
    file = config(tmp_path, "cookies: yes")
    assert loaded("--cookies").cookies
    assert loaded("--config", file).cookies
    assert not loaded("--config", file, "--no-cookies").cookies
    assert not loaded("--config", file, environ={"CTUN_COOKIES": "false"}).cookies


def test_an_empty_variable_is_none() -> None:
    assert loaded(environ={"CTUN_GRACE": ""}).grace == 30


def test_a_setting_that_must_not_come_from_the_environment_does_not() -> None:
    assert loaded(environ={"CTUN_WHERE": "/x"}).where is None
    assert loaded("--where", "/x").where == Path("/x")


def test_null_in_the_file_is_not_given(tmp_path: Path) -> None:
    assert loaded("--config", config(tmp_path, "grace: null\nadmin: ~\n")).grace == 30


@pytest.mark.parametrize(
    ("variable", "meant"), [("CTUN_GRASE", "CTUN_GRACE"), ("CTUN_COOKEIS", "CTUN_COOKIES")]
)
def test_a_misspelt_variable_is_a_mistake_and_not_silently_the_default(variable: str, meant: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^{variable}: there is no such setting \(did you mean '{meant}'\?\)$"
    ):
        loaded(environ={variable: "1"})


@pytest.mark.parametrize(
    "variable", ["CTUN_LEASE", "CTUN_STUB_SERVICE_HOST", "CTUN_WORKERS_PORT", "CTUN_CONFIG"]
)
def test_variables_of_other_commands_and_of_kubernetes_stay_what_they_are(variable: str) -> None:
    assert loaded(environ={variable: "" if variable == "CTUN_CONFIG" else "1"}) == loaded()


# Mistakes --------------------------------------------------------------------------------------


def test_each_mistake_names_the_place_it_was_made_in(tmp_path: Path) -> None:
    file = config(tmp_path, "grace: soon")
    for source, result in {
        "--grace": lambda: loaded("--grace", "soon"),
        "CTUN_GRACE": lambda: loaded(environ={"CTUN_GRACE": "soon"}),
        f"{file}: grace": lambda: loaded("--config", file),
    }.items():
        with pytest.raises(UsageError, match="such as 30s") as caught:
            result()
        assert str(caught.value).startswith(f"{source}: 'soon' is not a duration")


def test_a_choice_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"--log-level: 'debgu' is none of info, debug \(did you mean 'debug'\?\)"
    ):
        loaded("--log-level", "debgu")


def test_a_missing_setting_says_how_to_give_it() -> None:
    with pytest.raises(UsageError, match=r"--pin is missing: give --pin N, CTUN_PIN or 'pin:' in the conf"):
        load(Needy, parse(Needy), {})


def test_a_list_for_one_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="grace: one value is needed, not a list"):
        loaded("--config", config(tmp_path, "grace: [1s, 2s]"))


def test_an_error_about_a_secret_does_not_repeat_it() -> None:
    with pytest.raises(UsageError) as caught:
        load(Needy, parse(Needy), {"CTUN_PIN": "geheim"})
    assert str(caught.value) == "CTUN_PIN: not a valid N"
    assert caught.value.__cause__ is None


# Showing ---------------------------------------------------------------------------------------


def test_the_rendered_settings_are_a_file_that_gives_the_same_settings(tmp_path: Path) -> None:
    settings = loaded(
        "--stub", "[::1]:2", "--grace", "90m", "--cookies", "--where", "007", "--admin", ":8444"
    )
    assert loaded("--config", config(tmp_path, render(settings))) == settings
    assert loaded("--config", config(tmp_path, render(loaded()))) == loaded()


def test_a_rendered_value_is_written_as_it_would_be_given() -> None:
    text = render(loaded("--grace", "90m"))
    for line in ("grace: 1h30m", "workers: 3", "cookies: false", "admin: 'off'", "where: null", "stub: []"):
        assert line in text.splitlines()


def test_a_secret_is_shown_neither_rendered_nor_by_repr() -> None:
    settings = loaded("--token", "geheim")
    assert f"token: {HIDDEN}" in render(settings)
    assert "geheim" not in render(settings) + repr(settings)


def test_help_names_default_and_variable_and_puts_inherited_settings_last() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Sample)
    text = " ".join(parser.format_help().split())
    assert "--grace DURATION How long. (default 30s, CTUN_GRACE)" in text
    assert "--stub HOST:PORT Whom. (repeatable, CTUN_STUB with commas)" in text
    assert "Where, at 100%. (default :1, CTUN_LISTEN)" in text
    assert "--admin HOST:PORT|off Admin. (default off, CTUN_ADMIN)" in text
    assert text.index("--where") < text.index("--log-level")
    assert "CTUN_WHERE" not in text


def test_a_dataclass_of_settings_can_be_made_without_any_source() -> None:
    assert Sample() == loaded()
    assert len(fields(Sample)) == 9
