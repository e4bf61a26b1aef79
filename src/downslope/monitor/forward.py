"""One forward pass of a model: what goes in, what its activation functions give, what comes out.

Activation functions are found whether they are modules or calls (``torch.relu(x)``), by a
:class:`torch.overrides.TorchFunctionMode` that sees every call of torch. That costs more than the
calls. Where all it saw were what some module returned, as :class:`torch.nn.ReLU` does, hooks on
those modules see as much, so later looks put in only these; a thorough one uses the mode again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .activations import (
    FACTS,
    KINDS,
    activation_facts,
    first_tensor,
    input_facts,
    output_facts,
)
from .forms import Part
from .hooks import Hook

__all__ = ["Forward"]

_NO_ACTIVATIONS = Part(("activations",), ())


class _Site:
    """Where an activation function is called; its results in one pass: their last, their facts."""

    __slots__ = ("calls", "facts", "kind", "parts", "result")

    def __init__(self, name: str, kind: str) -> None:
        self.kind, self.calls = kind, 0
        self.facts: tuple[float, ...] = ()
        self.result: Tensor | None = None
        path, names, said = ("activations", name), (*FACTS[kind], "calls"), (("kind", kind),)
        #: Its form, and that of one whose result is the model's.
        self.parts = Part(path, names, said), Part(path, names, (*said, ("output", True)))

    def add(self, result: Tensor) -> None:
        """Take note of a result; facts are the mean over the calls, as of a recurrent network."""
        facts = activation_facts(self.kind, result)
        self.result = result
        self.calls += 1
        if self.calls > 1:
            facts = tuple(
                old + (new - old) / self.calls for old, new in zip(self.facts, facts, strict=True)
            )
        self.facts = facts


class _Watch(Hook):
    """Notes what a module returns as an activation function's result."""

    __slots__ = ("_site",)

    def __init__(self, note: Callable[[_Site, Any], None], site: _Site) -> None:
        super().__init__(note)
        self._site = site

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        self._function(self._site, output)


class _Functions(TorchFunctionMode):
    """Tells of every result of an activation function."""

    def __init__(self, tell: Callable[[str, Tensor], None]) -> None:
        super().__init__()
        self._tell = tell

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        kind = KINDS.get(getattr(func, "__name__", ""))
        if kind is not None and isinstance(result, Tensor) and result.is_floating_point():
            self._tell(kind, result)
        return result


@dataclass(slots=True)
class _Call:
    """A module that is being called, and the activation functions' results in it so far."""

    name: str
    results: list[tuple[str, Tensor]] = field(default_factory=list)


class Forward:
    """Looks at the next forward pass of a model, again and again.

    Args:
        model: what is watched.
        ended: called after a pass, with the first tensor of its outputs if there is one.
    """

    def __init__(self, model: nn.Module, ended: Callable[[Tensor | None], None]) -> None:
        self._model, self._ended = model, ended
        #: What the pass has shown: forms of parts, and their numbers one after another.
        self.parts: list[Part] = []
        self.numbers: list[float] = []
        self._handles: list[Any] = []
        self._hooked = ""  # how thoroughly
        self._watching = self._begun = False
        self._mode: _Functions | None = None
        self._calls: list[_Call] = []
        self._sites: dict[tuple[str, str], _Site] = {}
        self._seen: list[_Site] = []  # in this pass, in the order of their first calls
        #: Modules that return what an activation function gave: its kind, by the module's name.
        self._returning: dict[str, str] = {}
        #: Whether there are activation functions that only the mode sees; in this pass, in any.
        self._strays, self._elsewhere = False, True

    def arm(self, *, thorough: bool) -> None:
        """Wait for the next pass.

        Args:
            thorough: find the activation functions anew.
        """
        self.parts, self.numbers, self._begun = [], [], False
        how = "all" if thorough or self._elsewhere else "some"
        if how == self._hooked == "some":
            return
        self.disarm()
        self._hooked = how
        keep = self._handles.append
        if how == "some":
            for name, module in self._model.named_modules():
                kind = self._returning.get(name)
                if kind is not None:
                    keep(module.register_forward_hook(_Watch(self._note, self._site(name, kind))))
            keep(self._model.register_forward_hook(Hook(self._end)))
            return
        for name, module in self._model.named_modules():
            if name:
                keep(module.register_forward_pre_hook(Hook(lambda *_, n=name: self._enter(n))))
                keep(module.register_forward_hook(Hook(self._leave), always_call=True))
        keep(self._model.register_forward_hook(Hook(self._end), always_call=True))

    def disarm(self) -> None:
        """Take all hooks out."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._hooked = ""
        self._forget()

    def begin(self, args: Any, kwargs: Any) -> None:
        """Look at the pass that begins with these arguments, if it is the first since `arm`."""
        self._watching = not self._begun
        if not self._watching:
            return
        self._begun = True
        self._forget()
        first = args[0] if args else None
        tensor = first if type(first) is Tensor else first_tensor((args, kwargs))
        if tensor is not None:
            form, numbers = input_facts(tensor)
            self.parts.append(form)
            self.numbers += numbers
        if self._hooked == "all":
            self._strays = False
            self._mode = _Functions(self._tell)
            self._mode.__enter__()  # type: ignore[no-untyped-call]  # torch has no type for it

    def _forget(self) -> None:
        for site in self._seen:
            site.calls, site.result = 0, None
        self._seen.clear()
        self._calls.clear()

    def _enter(self, name: str) -> None:
        if self._watching:
            self._calls.append(_Call(name))

    def _tell(self, kind: str, result: Tensor) -> None:
        """The mode saw an activation function's result."""
        name = self._calls[-1].name if self._calls else kind
        if any((name, other) in self._sites for other in FACTS if other != kind):
            name, self._strays = f"{name}.{kind}", True
        self._note(self._site(name, kind), result)
        if self._calls:
            self._calls[-1].results.append((kind, result))
        else:
            self._strays = True

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._calls:
            return
        call = self._calls.pop()
        if len(call.results) == 1 and call.results[0][1] is output:
            self._returning[call.name] = call.results[0][0]
        elif call.results:
            self._strays = True

    def _site(self, name: str, kind: str) -> _Site:
        key = name, kind
        if key not in self._sites:
            self._sites[key] = _Site(name, kind)
        return self._sites[key]

    def _note(self, site: _Site, result: Any) -> None:
        if self._watching and isinstance(result, Tensor):
            if not site.calls:
                self._seen.append(site)
            site.add(result)

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._watching:
            return
        self._watching = False
        if self._mode is not None:
            self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # as above
            self._mode, self._elsewhere = None, self._strays
        tensor = output if type(output) is Tensor else first_tensor(output)
        floating = tensor is not None and tensor.is_floating_point()
        last = tensor.data_ptr() if tensor is not None and floating else None
        if not self._seen:
            self.parts.append(_NO_ACTIVATIONS)
        for site in self._seen:
            # A last sigmoid may be as sure as it is.
            result = site.result
            is_output = last is not None and result is not None and result.data_ptr() == last
            self.parts.append(site.parts[is_output])
            self.numbers += site.facts
            self.numbers.append(site.calls)
        self._forget()
        if tensor is not None and floating:
            form, numbers = output_facts(tensor)
            self.parts.append(form)
            self.numbers += numbers
        self._ended(tensor)
