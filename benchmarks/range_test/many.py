"""Training many copies of a network at once, each with its own seed and learning rates.

The copies are stacked along a first axis and run under ``torch.vmap``, so a hundred tiny networks
cost about ten times one, not a hundred times. The update is the very rule that the optimizer's
class runs, called on the stack with a learning rate a copy.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from downslope import optim
from downslope.engines.eager import update

from .problems import Problem

__all__ = ["OPTIMIZERS", "Copies", "order"]

#: Optimizer -> its arguments beside lr.
OPTIMIZERS: dict[str, dict[str, float]] = {
    "sgd": {"momentum": 0.9},
    "adamw": {"weight_decay": 0.01},
    "lion": {"weight_decay": 0.0},
}


def order(rows: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Row numbers batch after batch, a new permutation each epoch; short batches are left out."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(rows, generator=generator).split(batch_size)[: rows // batch_size]


class Copies:
    """A stack of ``len(seeds) * each`` networks: the copies of one seed lie side by side.

    Args:
        problem: what is trained.
        optimizer: a key of :data:`OPTIMIZERS`.
        seeds: of the weights and of the order of rows.
        each: copies a seed, which begin with equal weights and see equal batches.
        batch_size: rows a step.
    """

    def __init__(
        self, problem: Problem, optimizer: str, seeds: list[int], each: int, batch_size: int
    ) -> None:
        self.problem, self.data = problem, problem.data()
        self._seed_of = torch.arange(len(seeds)).repeat_interleave(each)
        models = []
        for seed in seeds:
            torch.manual_seed(seed)
            models.append(problem.model())
        self._module: nn.Module = models[0]
        params, buffers = stack_module_state(models)
        self.params = {k: v.detach()[self._seed_of].requires_grad_() for k, v in params.items()}
        self.buffers = {k: v[self._seed_of] for k, v in buffers.items()}
        self._orders = [order(len(self.data.inputs), batch_size, seed) for seed in seeds]
        self._state: dict[str, dict[str, Tensor]] = {k: {} for k in self.params}
        kind = optim.get(optimizer)
        group = kind([torch.zeros(1, requires_grad=True)], **OPTIMIZERS[optimizer]).param_groups[0]
        self._rule, self._flags = kind.rule, dict(kind.rule.flag_values(group))
        self._present = kind.rule.present(group)
        self._hypers = {h.name: h.of(group) for h in kind.rule.scalar_hypers}
        self._done = 0
        self._loss = torch.vmap(self._one, randomness="different")

    def _one(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> Tensor:
        return self.problem.loss(functional_call(self._module, (params, buffers), (x,)), y)

    def next_rows(self) -> Tensor:
        """The next batch's row numbers, of shape (seeds, batch size)."""
        return torch.stack([next(rows) for rows in self._orders])

    def loss(self, rows: Tensor) -> Tensor:
        """The loss of each copy on its seed's rows, in training mode."""
        x, y = self.data.inputs[rows][self._seed_of], self.data.targets[rows][self._seed_of]
        self._module.train()
        return self._loss(self.params, self.buffers, x, y)

    @torch.no_grad()
    def validation(self, chunk: int = 128) -> Tensor:
        """The validation loss of each copy, in evaluation mode."""
        self._module.eval()
        total = torch.zeros(len(self._seed_of))
        rows = len(self.data.validation_inputs)
        call = torch.vmap(self._one, in_dims=(0, 0, None, None), randomness="different")
        for begin in range(0, rows, chunk):
            x = self.data.validation_inputs[begin : begin + chunk]
            y = self.data.validation_targets[begin : begin + chunk]
            total += call(self.params, self.buffers, x, y) * len(x)
        return total / rows

    def step(self, lrs: Tensor | float) -> Tensor:
        """One training step of each copy at its learning rate; gives the losses before it."""
        for p in self.params.values():
            p.grad = None
        losses = self.loss(self.next_rows())
        losses.sum().backward()
        host = {"step": self._done + 1, "fresh": float(self._done == 0)}
        host["numel"] = 1.0  # of what no rule asks about here
        host = {name: value for name, value in host.items() if name in self._rule.scalars}
        self._done += 1
        lr = torch.as_tensor(lrs, dtype=torch.float32).expand(len(self._seed_of))
        with torch.no_grad():
            for name, p in self.params.items():
                state = self._state[name]
                slots = {
                    s.name: state.get(s.name, torch.zeros_like(p))
                    if s.name in self._present
                    else None
                    for s in self._rule.slots
                }
                values = {"p": p.detach(), "g": p.grad, **slots}
                scalars = {**self._hypers, **host, "lr": lr.view(-1, *[1] * (p.dim() - 1))}
                new = update(self._rule, values, scalars, self._flags)
                p.copy_(new.pop("p"))
                self._state[name] = new
        return losses.detach()
