"""One forward pass of a model: what goes in, what its activation functions give, what comes out.

Activation functions are found whether they are modules or calls (``torch.relu(x)``), by a
:class:`torch.overrides.TorchFunctionMode` that sees every call of torch. That costs more than the
calls. Where all it saw were what some module returned, as :class:`torch.nn.ReLU` does, hooks on
those modules see as much, so later looks put in only these, or what costs less (a ``Tap``); a
thorough one uses the mode again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .activations import (
    FACTS,
    INPUT,
    KINDS,
    OUTPUT,
    Facts,
    activation_facts,
    first_tensor,
    input_facts,
    output_facts,
)
from .forms import Part
from .hooks import After, Hook, Noting, Tap

__all__ = ["Forward"]

_NO_ACTIVATIONS = Part(("activations",), ())
MOST_LATE = 2**17  #: numbers of a pass that may be kept until the step is done


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

    def add(self, result: Tensor, facts: tuple[float, ...]) -> None:
        """Take note of a result; facts are the mean over the calls, as of a recurrent network."""
        self.result = result
        self.calls += 1
        if self.calls > 1:
            facts = tuple(
                old + (new - old) / self.calls for old, new in zip(self.facts, facts, strict=True)
            )
        self.facts = facts


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
        noting: tells when its passes begin.
        ended: called after a pass, with the first tensor of its outputs if there is one.
    """

    def __init__(
        self, model: nn.Module, noting: Noting, ended: Callable[[Tensor | None], None]
    ) -> None:
        self._model, self._noting, self._ended = model, noting, ended
        #: What the pass has shown: forms of parts, and their numbers one after another.
        self.parts: list[Part] = []
        self.numbers: list[float] = []
        #: When it began; None before.
        self.began: float | None = None
        self._handles: list[Any] = []
        self._hooked = ""  # how thoroughly
        self._watching = self._compiled = False
        self._mode: _Functions | None = None
        self._calls: list[_Call] = []
        self._sites: dict[tuple[str, str], _Site] = {}
        self._seen: list[_Site] = []  # in this pass, in the order of their first calls
        #: Called when a pass begins that has a tensor among its arguments.
        self.begins: Callable[[], None] | None = None
        #: Whether its tensors are left to be measured when the step is done.
        self.late = False
        #: Those tensors: inputs, results of the activation functions, outputs.
        self.left: tuple[Tensor, ...] = ()
        self._tensors: list[Tensor] = []  # so far
        self._called: list[_Site] = []
        #: Of the last pass that was measured at once: where activation functions were called,
        #: which results were the outputs, whether it was as most are.
        self._sites_before: list[_Site] = []
        self._are_outputs: list[bool] = []
        self._usual = False
        #: In a thorough look what was measured, and how often it had been written to by then.
        self._versions: list[tuple[Tensor, int | None]] = []
        #: Modules that return what an activation function gave: its kind, by the module's name.
        self._returning: dict[str, str] = {}
        #: Whether there are activation functions that only the mode sees; in this pass, in any.
        self._strays, self._elsewhere = False, True

    def arm(self, *, thorough: bool) -> None:
        """Wait for the next pass.

        Args:
            thorough: find the activation functions anew.
        """
        how = "all" if thorough or self._elsewhere else "some"
        if how == self._hooked == "some":
            return
        self.disarm()
        self._hooked, self._noting.then = how, self._begin
        keep = self._handles.append
        if how == "some":
            self._put_in_some()
            return
        self._compiled = False
        for name, module in self._model.named_modules():
            if name:
                keep(module.register_forward_pre_hook(Hook(lambda *_, n=name: self._enter(n))))
                keep(module.register_forward_hook(Hook(self._leave), always_call=True))
        keep(self._model.register_forward_hook(After(self._end), always_call=True))

    def _put_in_some(self) -> None:
        """See what activation modules and the model return."""
        for name, module in self._model.named_modules():
            kind = self._returning.get(name)
            if kind is not None:
                note = partial(self._note, self._site(name, kind))
                tap = Tap(module, note)
                taken = self._noting.tapped and not self._compiled and tap.put()
                hook = module.register_forward_hook
                self._handles.append(tap if taken else hook(After(note)))
        if self._noting.tapped:
            self._noting.after = self._end
        else:
            self._handles.append(self._model.register_forward_hook(After(self._end)))

    def disarm(self) -> None:
        """Take all hooks out."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._hooked, self._noting.then, self._noting.after = "", None, None
        self.forget()

    def _begin(self, args: Any, kwargs: Any) -> None:
        """Look at the pass that begins with these arguments, if it is the first since `arm`."""
        self._watching = self.began is None
        if not self._watching:
            return
        self.began = perf_counter()
        first = args[0] if args else None
        tensor = first if type(first) is Tensor else first_tensor((args, kwargs))
        if tensor is not None:
            if self.begins is not None:
                self.begins()
            if self.late:
                self._tensors.append(tensor)
            else:
                self._add(input_facts(tensor))
                self._remember(tensor)
        if self._hooked == "all":
            self._strays = False
            self._mode = _Functions(self._tell)
            self._mode.__enter__()  # type: ignore[no-untyped-call]  # torch has no type for it

    def forget(self) -> None:
        """Forget the pass that was seen, and look at the next one."""
        self.began, self.left = None, ()
        if self.parts:
            self.parts, self.numbers = [], []
        self._versions.clear()
        self._let_go()

    def _let_go(self) -> None:
        self._called.clear()
        self._tensors.clear()
        if self._seen or self._calls:
            for site in self._seen:
                site.calls, site.result = 0, None
            self._seen.clear()
            self._calls.clear()

    def _add(self, facts: Facts) -> None:
        form, numbers = facts
        self.parts.append(form)
        self.numbers += numbers

    def _remember(self, tensor: Tensor) -> None:
        """To see at the end of a thorough look's step whether it was changed since."""
        if self._hooked == "all":
            self._versions.append((tensor, None if tensor.is_inference() else tensor._version))

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
        self._compiled = self._compiled or torch.compiler.is_compiling()
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
            if self._tensors:
                self._called.append(site)
                self._tensors.append(result)
            else:
                self._measured(site, result, activation_facts(site.kind, result))
                self._remember(result)

    def _measured(self, site: _Site, result: Tensor, facts: tuple[float, ...]) -> None:
        if not site.calls:
            self._seen.append(site)
        site.add(result, facts)

    def _end(self, output: Any) -> None:
        if not self._watching:
            return
        self._watching = False
        if self._mode is not None:
            self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # as above
            self._mode, self._elsewhere = None, self._strays
        tensor = output if type(output) is Tensor else first_tensor(output)
        if self._tensors and tensor is not None and self._called == self._sites_before:
            self.left = (*self._tensors, tensor)
        else:
            self._write_parts(tensor)
            self._keep_versions(tensor)
        self._ended(tensor)

    def _keep_versions(self, output: Tensor | None) -> None:
        """Let go of the pass, but of a small one's tensors only when its step is done."""
        if output is not None:
            self._remember(output)
        self._let_go()
        if sum(t.numel() for t, _ in self._versions) > MOST_LATE:
            self._versions.clear()

    @property
    def regular(self) -> tuple[list[str], list[bool]] | None:
        """Kinds of the activation functions, and which results are the outputs.

        None if passes like the last, a thorough look's, cannot be measured when their step is done.
        """
        kept = all(n == t._version for t, n in self._versions if n is not None)
        known = all(n is not None and not t.is_neg() for t, n in self._versions)
        if not (self._usual and self._versions and kept and known):
            return None
        return [s.kind for s in self._sites_before], list(self._are_outputs)

    def measure(self) -> None:
        """Measure what was left for the end of the step."""
        if self.left:
            self._write_parts(self.left[-1])
            self.left = ()

    def _write_parts(self, last: Tensor | None) -> None:
        outputs = last if last is not None and last.is_floating_point() else None
        if self._tensors:
            self._add(input_facts(self._tensors[0]))
            for site, result in zip(self._called, self._tensors[1:], strict=True):
                self._measured(site, result, activation_facts(site.kind, result))
        if not self._seen:
            self.parts.append(_NO_ACTIVATIONS)
        end = None if outputs is None else outputs.data_ptr()
        self._are_outputs = []
        for site in self._seen:
            # A last sigmoid may be as sure as it is.
            is_output = site.result is not None and site.result.data_ptr() == end
            self._are_outputs.append(is_output)
            self.parts.append(site.parts[is_output])
            self.numbers += site.facts
            self.numbers.append(site.calls)
        if outputs is not None:
            self._add(output_facts(outputs))
        ends = self.parts[0] is INPUT and self.parts[-1] is OUTPUT
        on_cpu = outputs is not None and outputs.is_cpu
        self._usual = ends and on_cpu and all(s.calls == 1 for s in self._seen)
        self._sites_before = list(self._seen)
