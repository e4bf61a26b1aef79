"""Options that are derived from the recipe's fields, so that none of them is written twice."""

from __future__ import annotations

import inspect
import tomllib
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from ..errors import InputError

__all__ = ["assignments", "from_text", "with_options"]


def with_options(
    command: Callable[..., None], fields: Mapping[str, FieldInfo]
) -> Callable[..., None]:
    """``command`` with one more option for each field; what was given arrives as ``given``.

    Args:
        command: takes ``given``, a dictionary of field names and values, among its arguments.
        fields: pydantic's; each has a description. Dictionaries are left out: they are for
            ``--set name=value``.
    """
    plain = {n: f for n, f in fields.items() if dict not in _kinds(f.annotation)}
    own = inspect.signature(command, eval_str=True)
    parameters = [p for p in own.parameters.values() if p.name != "given"]
    parameters += [_parameter(name, field) for name, field in plain.items()]

    def wrapper(**arguments: Any) -> None:
        texts = {name: arguments.pop(name) for name in plain}
        given = {
            name: from_text(plain[name].annotation, text)
            for name, text in texts.items()
            if text is not None
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
    """The number that a text stands for, where the field holds numbers; else the text.

    What is not a number stays text, so that the recipe itself says what is allowed.

    >>> from_text(float | None, "3e-4"), from_text(int, "12"), from_text(float, "fast")
    (0.0003, 12, 'fast')
    """
    for kind in (int, float):
        if kind in _kinds(annotation):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=_sentence(field.description or ""),
        metavar=_metavar(field.annotation),
        show_default=False if field.default is None else str(field.default),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


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
    """What stands for the value in the help.

    >>> _metavar(Literal["linear", "step"]), _metavar(int | None)
    ('linear|step', 'INT')
    """
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    words = {int: "INT", float: "FLOAT"}
    return next((words[kind] for kind in _kinds(annotation) if kind in words), "TEXT")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
