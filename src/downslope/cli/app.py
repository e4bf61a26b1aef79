"""The ``downslope`` command: its subcommands, loaded when called, and its errors, one line each."""

from __future__ import annotations

import importlib
import io
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.main
from typer.core import TyperGroup

from .. import __version__
from ..errors import DownslopeError

__all__ = ["DEBUG", "INTERRUPTED", "Debug", "app", "main"]

#: Subcommand -> its help in one line. A subcommand lives in the module of its name and is
#: imported when it is called: ``downslope --help`` must not wait for torch.
COMMANDS = {
    "train": "Find a learning rate, train, watch, save and report.",
    "diagnose": "Say what is wrong with a run, why, and what to change.",
    "predict": "Predict for every row of a file, with the model of a run.",
    "export": "Write a run's model as files for other programs.",
    "checkpoint": "Say whether a checkpoint is sound, and what it holds.",
    "advise": "Advise a starting recipe, with a reason for every line.",
    "find-lr": "Find a learning rate by a range test, and plot it.",
    "compare": "Find out which optimizer reaches a target soonest.",
    "tune": "Search for a recipe that is better than the default.",
    "schedule": "Draw a schedule, in the terminal and into a file.",
    "explain": "Explain an optimizer: formula, arguments, memory, sources.",
    "race": "Let optimizers race on a surface, to watch.",
    "memory": "Tell the bytes a parameter that training takes.",
    "cache": "Show compiled kernels and converted tables, or remove them.",
}

DEBUG = "downslope.debug"

INTERRUPTED = 130  #: exit code: 128 + SIGINT, as shells have it


def _remember_debug(context: typer.Context, value: bool) -> bool:
    context.meta[DEBUG] = context.meta.get(DEBUG, False) or value
    return value


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_remember_debug, help="show the traceback of an error"),
]


class Commands(TyperGroup):
    """Loads a subcommand's module when it is called, and ends on an error in one line."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take the real subcommand in place of the stub that the help lists."""
        name, stub, rest = super().resolve_command(ctx, args)
        return (name, stub, rest) if name is None else (name, _load(name), rest)

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand; a user's mistake ends with exit code 2, a fault of ours with 1."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning  # type: ignore[assignment]  # needs one of its arguments
                return super().invoke(ctx)
        except (typer.TyperException, typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except (DownslopeError, OSError) as error:
            _fail(str(error), code=2, trace=ctx.meta.get(DEBUG, False))
        except Exception as error:  # noqa: BLE001 - the last resort: one line, not a traceback
            place = _users_place(error)
            whose = f"raised in {place}" if place else "this looks like a fault of Downslope"
            _fail(
                f"{type(error).__name__}: {error} ({whose}; --debug shows where it happened)",
                code=2 if place else 1,
                trace=ctx.meta.get(DEBUG, False),
            )

    def main(  # type: ignore[override]  # typer's other arguments are in `extra`
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Parse and run; a mistake on the command line ends in one line and exit code 2."""
        try:
            code = super().main(args, standalone_mode=False, **extra)
        except typer.TyperException as error:
            if not standalone_mode:
                raise
            context = getattr(error, "ctx", None)
            hint = f" See {context.command_path} --help." if context is not None else ""
            message = error.format_message().replace(": Value error, ", ": ")  # pydantic's words
            _fail(f"{message}{'' if message.endswith(('.', '?')) else '.'}{hint}", code=2)
        if standalone_mode:
            sys.exit(code or 0)
        return code


app = typer.Typer(
    name="downslope",
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False,
    debug: Debug = False,
) -> None:
    """Train PyTorch models: optimizers, learning rates, runs to watch and to resume."""
    if version:
        typer.echo(f"downslope {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _stub() -> None:
    """Stand for a subcommand in the list of subcommands."""


for _name, _help in COMMANDS.items():
    app.command(_name, help=_help)(_stub)


def main() -> None:
    """Run the command line on ``sys.argv`` and exit."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without Unicode shows "?" instead
        sys.stdout.reconfigure(errors="replace")
    app()


def _load(name: str) -> Any:
    """The subcommand from the module of its name, where it is called ``command``."""
    module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, context_settings={"help_option_names": ["-h", "--help"]})(module.command)
    return typer.main.get_command(single)


def _users_place(error: BaseException) -> str | None:
    """The innermost line of an error's traceback that is neither ours nor of what is installed."""
    paths = sysconfig.get_paths()
    others = [Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    others.append(Path(__file__).parents[1])
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and not any(file.is_relative_to(folder) for folder in others):
            return f"{frame.filename}, line {frame.lineno}"
    return None


def _show_warning(message: Warning | str, *_: Any) -> None:
    """A warning in one line, without the place in the source that Python adds."""
    typer.echo(f"warning: {' '.join(str(message).split())}", err=True)


def _fail(message: str, *, code: int, trace: bool = False) -> NoReturn:
    """End with one line on stderr, after the traceback of the error at hand where it is wanted."""
    if trace:
        traceback.print_exc()
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise SystemExit(code)
