"""The names of all commands' variables beside each other: one environment may be for several commands."""

import argparse
from dataclasses import fields
from itertools import permutations

import pytest

from agent.settings import AgentSettings
from stub.settings import StubSettings
from tunnel.cli.local.settings import UpSettings
from tunnel.kit.failures import UsageError
from tunnel.kit.settings import load

COMMANDS = (StubSettings, AgentSettings, UpSettings)


def variables(cls: type) -> set[str]:
    return {f"CTUN_{field.name.upper()}" for field in fields(cls)}


def complaint(cls: type, variable: str) -> str:
    """What a command says of a variable, beside what else is missing."""
    try:
        load(cls, argparse.Namespace(), {variable: "something"})
    except UsageError as mistake:
        return str(mistake)
    return ""


@pytest.mark.parametrize(("one", "other"), list(permutations(COMMANDS, 2)))
def test_no_command_takes_a_variable_of_another_for_a_misspelt_one_of_its_own(one: type, other: type) -> None:
    foreign = variables(other) - variables(one)
    assert foreign
    assert [variable for variable in foreign if "no such setting" in complaint(one, variable)] == []


@pytest.mark.parametrize("cls", COMMANDS)
def test_every_command_knows_a_misspelt_variable(cls: type) -> None:
    assert "did you mean 'CTUN_LOG_LEVEL'?" in complaint(cls, "CTUN_LOG_LEVLE")
