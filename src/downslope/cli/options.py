"""Options that are derived from where their values go, so that none of them is written twice."""

from __future__ import annotations

import builtins
import inspect
import re
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = [
    "Spec",
    "assignments",
    "from_text",
    "listed",
    "of_fields",
    "of_function",
    "with_options",
]

_PLAIN = {int, float, str, Literal, types.NoneType}


@dataclass(frozen=True)
class Spec:
    """An option before typer knows it; ``default`` is shown, not used.

    Args:
        name: of the argument.
        annotation: of the argument; ``Sequence[str] | None``: may be given several times.
        default: of the argument.
        help: in a line.
        metavar: what stands for the value in the help; by the annotation where it is left out.
    """

    name: str
    annotation: Any
    default: Any
    help: str
    metavar: str | None = None

    @property
    def option(self) -> str:
        """How it is written on the command line.

        >>> Spec("batch_size", int, 32, "rows a step").option
        '--batch-size'
        """
        return f"--{self.name.replace('_', '-')}"

    @property
    def parameter(self) -> inspect.Parameter:
        """The argument of a command that typer makes the option from."""
        if bool in _kinds(self.annotation):
            off = f"no-{self.option[2:]}"
            unless = self.option[2:] if self.default else off
            shown = "" if self.default is None else f" [default: {unless}]"
            switch = typer.Option(f"{self.option}/--{off}", help=self.help + shown)
            return inspect.Parameter(
                self.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[bool | None, switch],
            )
        metavar = self.metavar or _metavar(self.annotation)
        if Sequence in _kinds(self.annotation):
            several = typer.Option(self.option, help=f"{self.help}; once for each", metavar=metavar)
            return inspect.Parameter(
                self.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[list[str] | None, several],
            )
        shown = "" if self.default is None else f" [default: {self.default}]"
        option = typer.Option(self.option, help=self.help + shown, metavar=metavar)
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, option],
        )


def of_fields(fields: Mapping[str, FieldInfo]) -> Iterator[Spec]:
    """An option for each field of a pydantic model: a number, a word, or a switch."""
    for name, field in fields.items():
        if _PLAIN.union({bool}).issuperset(_kinds(field.annotation)):
            yield Spec(name, field.annotation, field.default, field.description or "")


def of_function(function: Callable[..., Any]) -> Iterator[Spec]:
    """An option for each keyword-only argument that is a number or a word.

    The help is what the docstring's ``Args:`` say.

    >>> def f(*, rows: int = 3, seen: list[int] = []):
    ...     '''Do.
    ...
    ...     Args:
    ...         rows: how
    ...             many.
    ...         seen: other things.
    ...     '''
    >>> list(of_function(f))
    [Spec(name='rows', annotation=<class 'int'>, default=3, help='how many', metavar=None)]
    """
    known = {**vars(builtins), **function.__globals__}
    told = dict(re.findall(r"^    (\w+): ((?:.|\n {6,})+)", inspect.getdoc(function) or "", re.M))
    for parameter in inspect.signature(function).parameters.values():
        try:
            annotation = eval(str(parameter.annotation), known)  # our own source
        except NameError:  # of what is imported for type checkers alone: no number, no word
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and _PLAIN.issuperset(_kinds(annotation)):
            text = " ".join(told.get(parameter.name, "").split()).replace("`", "").rstrip(".")
            yield Spec(parameter.name, annotation, parameter.default, text)


def listed(text: str) -> list[str]:
    """The names in a text with commas between.

    >>> listed("sgd, adamw,")
    ['sgd', 'adamw']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def with_options(command: Callable[..., None], specs: Iterable[Spec]) -> Callable[..., None]:
    """``command`` with further options; those that were given arrive as its argument ``given``."""
    by_name = {spec.name: spec for spec in specs}
    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [p for p in own if p.name != "given"] + [s.parameter for s in by_name.values()]

    def wrapper(**arguments: Any) -> None:
        texts = {name: arguments.pop(name) for name in by_name}
        given = {
            name: from_text(by_name[name].annotation, text) if isinstance(text, str) else text
            for name, text in texts.items()
            if text not in (None, [])
        }
        command(**arguments, given=given)

    wrapper.__doc__ = command.__doc__
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def assignments(texts: list[str]) -> dict[str, Any]:
    """``name=value`` pairs, the values as TOML has them, other words as text.

    >>> assignments(["betas=[0.9, 0.99]", "eps=1e-6", "nesterov=true", "word=some"])
    {'betas': [0.9, 0.99], 'eps': 1e-06, 'nesterov': True, 'word': 'some'}
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise InputError(
                f"--set takes name=value, such as --set momentum=0.9 or --set 'betas=[0.9, 0.99]', "
                f"got {text!r}."
            )
        values[name.strip()] = _toml(value.strip())
    return values


def from_text(annotation: Any, text: str) -> Any:
    """The number that a text stands for, where numbers are wanted; ``none`` where None may be.

    Anything else stays text, so that whoever takes the value says what is allowed.

    >>> from_text(float | None, "3e-4"), from_text(int | None, "none"), from_text(float, "fast")
    (0.0003, None, 'fast')
    """
    if text == "none" and types.NoneType in _kinds(annotation):
        return None
    for kind in (int, float):
        if kind in _kinds(annotation):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The plain types that a field may hold.

    >>> _kinds(Annotated[float, "positive"] | None)
    (<class 'float'>, <class 'NoneType'>)
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(kind for part in get_args(annotation) for kind in _kinds(part))
    return (origin or annotation,)


def _metavar(annotation: Any) -> str:
    """What stands for the value in the help; numbers and choices look as typer's own do.

    >>> _metavar(Literal["linear", "step"] | None), _metavar(int | None), _metavar(str)
    ('<linear|step>', '<int>', 'NAME')
    """
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is Literal:
            return f"<{'|'.join(map(str, get_args(part)))}>"
    words = {int: "<int>", float: "<float>"}
    return next((words[kind] for kind in _kinds(annotation) if kind in words), "NAME")


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
