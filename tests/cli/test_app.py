from __future__ import annotations

import subprocess
import sys
import warnings
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

import downslope
from downslope.cli import app
from downslope.cli.app import COMMANDS
from downslope.errors import InputError

RUNNER = CliRunner()
HEAVY = ("torch", "numpy", "matplotlib", "rich", "sympy", "numba", "polars", "sklearn")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)


def test_version() -> None:
    """`--version` prints the package's version."""
    result = RUNNER.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"downslope {downslope.__version__}\n")


def test_no_arguments_show_the_help() -> None:
    """Without a subcommand the help is shown, and that is no error."""
    result = RUNNER.invoke(app, [])
    assert result.exit_code == 0
    assert "find-lr" in result.stdout


def test_the_list_of_commands_is_read_whole() -> None:
    """No command's line is cut off with dots, in a terminal of 80 columns."""
    lines = RUNNER.invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout.splitlines()
    for name, told in COMMANDS.items():
        assert [line.split(maxsplit=1)[1] for line in lines if line.startswith(f"  {name} ")] == [
            told
        ]


@pytest.mark.parametrize("arguments", [["--help"], [], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """No help, of any subcommand, waits for torch or any other large package."""
    code = (
        "import sys\n"
        "from downslope.cli import app\n"
        f"try: app({arguments})\n"
        "except SystemExit: pass\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "loaded: []"


def test_the_module_is_the_command() -> None:
    """`python -m downslope` is the same command."""
    assert python("-m", "downslope", "--version").stdout == f"downslope {downslope.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["--bogus"], "No such option: --bogus"),
        (["explain"], "Missing argument 'NAME'"),
        (["explain", "adam", "extra"], "unexpected extra argument"),
        (["train", "--learning-rate", "1"], "No such option: --learning-rate"),
        (["train", "digits", "--lr"], "'--lr' requires an argument"),
    ],
)
def test_usage_errors_are_one_line(arguments: list[str], says: str) -> None:
    """A mistake on the command line ends with one line on stderr and exit code 2."""
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    # A mock raises in the standard library: no line of the user's own is in the traceback.
    monkeypatch.setattr("downslope.optim.get", Mock(side_effect=error))


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (InputError("one\n  two"), 2, "error: one two\n"),
        (OSError(28, "No space left on device", "a"), 2, "[Errno 28] No space left on device: 'a'"),
        (KeyError("x"), 1, "error: KeyError: 'x' (this looks like a fault of Downslope"),
    ],
)
def test_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, says: str
) -> None:
    """What a user can mend ends with 2, our own faults with 1; both in one line."""
    fail_with(monkeypatch, error)
    result = RUNNER.invoke(app, ["explain", "adam"])
    assert result.exit_code == code
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


@pytest.mark.parametrize("arguments", [["--debug", "explain", "x"], ["explain", "x", "--debug"]])
def test_debug_shows_the_traceback(arguments: list[str]) -> None:
    """`--debug`, before or after the subcommand, adds the traceback and keeps the exit code."""
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: Unknown optimizer 'x'")


@pytest.mark.filterwarnings("always")
def test_warnings_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning is shown without the place in the source that Python adds."""

    def warning(name: str) -> None:
        warnings.warn("take\ncare", stacklevel=1)
        raise InputError("stop")

    monkeypatch.setattr("downslope.optim.get", warning)
    assert RUNNER.invoke(app, ["explain", "x"]).stderr == "warning: take care\nerror: stop\n"
