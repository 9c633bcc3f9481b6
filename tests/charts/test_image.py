"""The Dockerfile makes an image that Kubernetes can run without root and without writing."""

import re
import tomllib
from fnmatch import fnmatch

from tests.charts.image import ROOT, locked_versions

DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()
    if line and not line.startswith("#")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
STAGE = max(index for index, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM")


def last(word: str) -> str:
    """What an instruction of the final stage says."""
    return [text for each, text in INSTRUCTIONS[STAGE:] if each == word][-1]


def test_it_runs_the_command_as_a_user_that_kubernetes_can_tell_from_root() -> None:
    user, group = last("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert last("ENTRYPOINT") == '["cluster-tunnel"]'


def test_its_base_is_named_by_version_and_from_the_public_registry() -> None:
    (base,) = re.findall(r"^ARG BASE=(.+)$", DOCKERFILE, re.MULTILINE)
    name, _, tag = base.partition(":")
    assert name == "python"
    assert re.match(r"3\.\d+-", tag)
    assert [text.split()[0] for word, text in INSTRUCTIONS if word == "FROM"] == ["${BASE}", "${BASE}"]


def test_nothing_is_written_into_a_root_file_system_that_is_read_only() -> None:
    assert "PYTHONDONTWRITEBYTECODE=1" in last("ENV").split()


def test_the_standard_library_is_compiled_once_for_all_processes() -> None:
    """The official images come without byte code, and nobody could write it down later."""
    words = [word for word, _ in INSTRUCTIONS[STAGE:]]
    assert "python3 -m compileall" in last("RUN")
    assert 'sysconfig.get_path("stdlib")' in last("RUN")
    assert words.index("RUN") < words.index("USER")


def test_nothing_is_installed_or_built_with_that_has_no_hash() -> None:
    """pip would build with the newest backend that it finds."""
    runs = [text for word, text in INSTRUCTIONS if word == "RUN"]
    pips = [words for text in runs for each in text.split("&&") if "pip" in (words := each.split())]
    assert len(pips) == 4
    assert all({"--require-hashes", "--no-index"} & set(words) for words in pips)
    (wheel,) = [words for words in pips if "wheel" in words]
    assert {"--no-build-isolation", "--no-deps"} <= set(wheel)
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements-build.lock").read_text(), re.MULTILINE)
    assert {re.split(r"[^a-z0-9-]", each)[0] for each in PROJECT["build-system"]["requires"]} <= set(locked)


def test_its_label_has_the_version_of_the_package() -> None:
    assert f"ARG VERSION={PROJECT['project']['version']}\n" in DOCKERFILE


def test_every_package_of_ours_is_in_it_and_nothing_else_reaches_the_build() -> None:
    copied = {text.split()[0] for word, text in INSTRUCTIONS if word == "COPY" and "--from" not in text}
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert packages <= copied
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    written = {text for word, text in INSTRUCTIONS if word == "COPY" and "--from" not in text}
    assert let_in == {name for text in written for name in text.split()[:-1]}
    assert all((ROOT / name).exists() for name in let_in)
    assert any(fnmatch("tunnel/__pycache__", line) for line in ignored)


def test_the_folder_without_docker_has_the_locked_versions_of_what_the_package_needs() -> None:
    names = {version.split("==")[0].lower().replace("_", "-") for version in locked_versions()}
    needed = {re.split(r"[^A-Za-z0-9._-]", each)[0].lower() for each in PROJECT["project"]["dependencies"]}
    assert needed <= names
