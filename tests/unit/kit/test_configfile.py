"""Configuration files."""

from pathlib import Path

import pytest

from tunnel.kit.configfile import ConfigFile, read_config_file
from tunnel.kit.failures import UsageError

SECTIONS = ("agent", "stub")


def read(tmp_path: Path, content: str | bytes, section: str = "stub") -> ConfigFile:
    path = tmp_path / "config.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_config_file(str(path), "--config", ["listen", "log-level", "stub"], section, SECTIONS)


def test_the_commands_own_section_overrides_the_top_level(tmp_path: Path) -> None:
    file = read(tmp_path, "listen: a\nlog-level: info\nstub: {listen: b}\nagent: {anything: goes}\n")
    assert file.values == {"listen": "b", "log-level": "info"}


def test_a_key_may_be_a_setting_and_a_section(tmp_path: Path) -> None:
    assert read(tmp_path, "stub: [a, b]", section="agent").values == {"stub": ["a", "b"]}
    assert read(tmp_path, "stub: {listen: b}", section="agent").values == {}


def test_scalars_stay_the_texts_they_are(tmp_path: Path) -> None:
    assert read(tmp_path, "listen: 007\nlog-level: no\nstub: [1e3, 2026-01-01]\n").values == {
        "listen": "007",
        "log-level": "no",
        "stub": ["1e3", "2026-01-01"],
    }


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing\n").values == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lisetn: a", r"config.yaml: unknown key 'lisetn' \(did you mean 'listen'\?\)"),
        ("stub: {lisetn: a}", "unknown key 'lisetn'"),
        ("stbu: {listen: a}", r"unknown section 'stbu' \(did you mean 'stub'\?\)"),
        ("listen: [[a]]", "listen: a value or a list of values is needed"),
        ("- listen", "must hold settings by name"),
        ("listen", "must hold settings by name"),
        ("listen: [", "not valid YAML in line 1"),
        ("listen: !!python/object:os.system x", "not valid YAML"),
        (b"listen: \xff\xfe", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("listen: " + "a" * 2**20, "larger than 1 MiB"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, content)


def test_a_file_that_cannot_be_read_is_named_with_who_named_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^CTUN_CONFIG: .*none\.yaml cannot be read: No such file"):
        read_config_file(str(tmp_path / "none.yaml"), "CTUN_CONFIG", [], None, ())
