"""The command: what it prints and which exit code it gives."""

import json
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from tunnel.cli import main as command
from tunnel.cli.main import SUBCOMMANDS, main
from tunnel.kit.failures import CommandFailed, UsageError

CONSOLE_SCRIPT = Path(sys.executable).with_name("cluster-tunnel")


@pytest.fixture
def subcommand(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., int]], None]:
    """Installs a subcommand `fake` that runs a function."""

    def install(run: Callable[..., int]) -> None:
        module = types.ModuleType("tunnel.cli.fake")
        module.configure = lambda parser: parser.add_argument("--listen")  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tunnel.cli.fake", module)
        monkeypatch.setattr(command, "SUBCOMMANDS", {"fake": "do nothing", **SUBCOMMANDS})

    return install


def raising(error: BaseException) -> Callable[..., int]:
    def run(options: object) -> int:
        raise error

    return run


def outcome(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(argv)
    return code, capsys.readouterr().err


# Finding the subcommand ------------------------------------------------------------------------


def test_without_arguments_the_help_goes_to_standard_error_with_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, err = outcome(capsys)
    assert code == 2
    assert all(f"  {name} " in err for name in SUBCOMMANDS)


def test_help_is_code_0_and_lists_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in SUBCOMMANDS)
    assert "Example:" in out


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_help_of_each_subcommand_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "\nExample" in out
    assert f"  cluster-tunnel {name}" in out.partition("\nExample")[2]


def test_a_misspelt_subcommand_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "agnet") == (
        2,
        "cluster-tunnel: unknown command 'agnet' (did you mean 'agent'?); see 'cluster-tunnel --help'\n",
    )


def test_a_misspelt_flag_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "stub", "--listne=:1") == (
        2,
        "cluster-tunnel: unknown argument '--listne' (did you mean '--listen'?); see 'cluster-tunnel stub --help'\n",
    )


def test_an_abbreviated_flag_is_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "stub", "--list", ":1")[0] == 2


def test_a_flag_without_its_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = outcome(capsys, "stub", "--listen")
    assert (code, err) == (
        2,
        "cluster-tunnel: --listen: expected one argument; see 'cluster-tunnel stub --help'\n",
    )


def test_a_misspelt_choice_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = outcome(capsys, "version", "-o", "jsno")
    assert code == 2
    assert "(did you mean 'json'?)" in err


# Exit codes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("--listen: no"), 2, "--listen: no"),
        (CommandFailed("two\nlines"), 1, "two lines"),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [UsageError("deep")])]), 2, "deep"),
        (FileNotFoundError(2, "No such file or directory", "x.crt"), 1, "x.crt: No such file or directory"),
        (OSError(98, "address already in use"), 1, "address already in use"),
        (
            ZeroDivisionError("oops"),
            1,
            "this is a bug: ZeroDivisionError: oops (run it again with --debug for the traceback)",
        ),
    ],
)
def test_a_failure_is_one_line_and_its_exit_code(
    subcommand: Callable[[Callable[..., int]], None],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    line: str,
) -> None:
    subcommand(raising(error))
    assert outcome(capsys, "fake") == (code, f"cluster-tunnel: {line}\n")


@pytest.mark.parametrize("argv", [("fake", "--debug"), ("--debug", "fake")])
def test_the_traceback_is_shown_only_with_debug(
    subcommand: Callable[[Callable[..., int]], None],
    capsys: pytest.CaptureFixture[str],
    argv: tuple[str, ...],
) -> None:
    subcommand(raising(ZeroDivisionError("oops")))
    code, err = outcome(capsys, *argv)
    assert code == 1
    assert "Traceback" in err


def test_an_interrupt_is_quiet_and_130(
    subcommand: Callable[[Callable[..., int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    subcommand(raising(KeyboardInterrupt()))
    assert outcome(capsys, "fake") == (130, "")


def test_the_code_of_the_subcommand_is_the_commands(subcommand: Callable[[Callable[..., int]], None]) -> None:
    subcommand(lambda options: 7)
    assert main(["fake", "--listen", "x"]) == 7


# As a process ----------------------------------------------------------------------------------


def run(*argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environ or None)


def test_the_console_script_and_the_module_are_the_same_command() -> None:
    script = run(str(CONSOLE_SCRIPT), "version", "-o", "json")
    module = run(sys.executable, "-m", "tunnel", "version", "-o", "json")
    assert script.returncode == module.returncode == 0
    assert json.loads(script.stdout) == json.loads(module.stdout)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("stub", "--ca-dir", "/nonexistent"), "--ca-dir: /nonexistent: there is no such folder"),
        (
            ("stub",),
            "--ca-dir is missing: give --ca-dir DIR, CTUN_CA_DIR or 'ca-dir:' in the configuration file",
        ),
        (
            ("stub", "--config", "/none.yaml"),
            "--config: /none.yaml cannot be read: No such file or directory",
        ),
        (("up",), "which cluster? give --kubeconfig FILE, or in a checkout of the project --simulator"),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(argv: tuple[str, ...], line: str) -> None:
    done = run(str(CONSOLE_SCRIPT), *argv, PATH="/bin")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"cluster-tunnel: {line}\n")


def test_settings_are_printed_from_flags_variables_and_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("stub:\n  domain: clusters.example.com\n  ca-dir: /\n")
    done = run(
        *(str(CONSOLE_SCRIPT), "stub", "--listen", ":1", "--print-config"),
        CTUN_DRAIN_GRACE="2m",
        CTUN_CONFIG=str(file),
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert {"listen: :1", "drain-grace: 2m", "domain: clusters.example.com", "ca-dir: /"} <= set(lines)


def test_a_closed_pipe_is_quiet() -> None:
    with subprocess.Popen(
        [str(CONSOLE_SCRIPT), "stub", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) in (0, 128 + signal.SIGPIPE)


@pytest.mark.parametrize(
    "module", ["asyncio", "ssl", "yaml", "aiohttp", "cryptography", "h2", "stub.server", "agent.dialer"]
)
def test_help_imports_nothing_heavy(module: str) -> None:
    code = "import sys; from tunnel.cli.main import main; main(['--help']); print(' '.join(sys.modules), file=sys.stderr)"
    assert module not in run(sys.executable, "-c", code).stderr.split()
