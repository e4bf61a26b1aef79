"""The buckets of the Triton engine."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import EngineError
from .. import clip, together
from ..bucket import Measures, Table
from ..clip import TREATMENT, Treatment
from ..planned import PlannedBucket
from ..program import Program
from ..together import Turns
from ..trace import trace_sums
from .words import Words

if TYPE_CHECKING:
    from .run import Launch
    from .units import Units

__all__ = ["CountingTritonBucket", "TritonBucket"]


class TritonBucket(PlannedBucket):
    """Dense tensors of an accelerator, one launch a pass.

    Slots that are one number a tensor are on the device, because the kernel computes them; steps
    are counted on the host, as torch does unless it is asked for a fused or capturable step.
    """

    def _prepare(self) -> None:
        from .kernel import columns, vectors  # imports Triton

        self._device = self.members.params[0].device
        _refuse_capture(self._device)
        super()._prepare()
        kept = tuple(self._kept)
        self._columns = columns(self.rule)
        self._vectors = vectors(self._program, self._kinds, kept)
        self._sent = [name for name in self._vectors if name not in kept]
        self._launch = self._launcher(self._program, self._kinds, kept)
        self._units: Units | None = None
        if "clip_agc" in self.members.clips:
            from .units import Units

            p = self.members.params[0]
            parts = list(map(clip.units, self.members.params))
            real_bytes = p.element_size() // (2 if p.is_complex() else 1)
            self._units = Units(self._lengths, parts, real_bytes, self._device)
            self._owners = torch.from_numpy(self.groups).to(self._device)
        self._meter: Launch | None = None
        self._words: Words | None = None
        self._table: Table | None = None
        self._treatment: Treatment | None = None
        #: By column, the groups whose number is a tensor that the host does not read.
        self._unread: dict[str, list[tuple[int, Tensor]]] = {}
        self._scale, self._skip = (torch.full((1,), x, device=self._device) for x in (1.0, 0.0))

    def _gather_numbers(self) -> None:
        on_host = () if self.counts_on_device else ("step",)
        names = [name for name in self._counted if name not in on_host]
        #: What the kernel reads and writes: numbers, one a tensor.
        self._kept = {name: self._gather_on_device(name) for name in names}
        if self.counts_on_device and "fresh" in self._program.scalars:
            self._kept["fresh"] = torch.from_numpy(self.fresh).to(self._device, copy=True)
        self._steps: npt.NDArray[Any] | None = None
        if self.counts and not self.counts_on_device:
            self._steps = self._gather("step").numpy()

    def _gather_on_device(self, name: str) -> Tensor:
        values = [s[name] for s in self.members.state]
        if any(v.device != self._device for v in values):
            vector = self._gather(name).to(self._device)
        else:
            vector = torch.stack(values)
        return self._shared(name, vector)

    def _launcher(self, program: Program, kinds: tuple[str, ...], kept: tuple[str, ...]) -> Launch:
        from .run import Launch

        where = (self.groups, self._device)
        return Launch(program, kinds, self._lengths, *where, self._columns, kept)

    def _make_meter(self) -> Launch:
        """What measures gradients: of tensors, or of units as if they were tensors."""
        from .run import Launch

        _refuse_capture(self._device)
        program = trace_sums(clip.squares_rule(self.members.clips))
        kinds, units = self._kinds[1:2] * len(program.arrays), self._units  # as the gradient
        if units is None:
            return self._launcher(program, kinds, ())
        where = (self.groups[units.owner], self._device)
        return Launch(program, kinds, units.sizes.tolist(), *where, self._columns)

    def _write(self, words: Words, name: str, column: Sequence[Any], read: bool) -> None:
        """Tell one number a group; of a tensor that the host must not read, note where it is."""
        tensors = [(g, v) for g, v in enumerate(column) if isinstance(v, Tensor) and not read]
        self._unread[name] = tensors
        unread = {g for g, _ in tensors}
        numbers = [0.0 if g in unread else clip.number(v) for g, v in enumerate(column)]
        words.host["scalars"][:, self._columns.index(name)] = numbers

    def _tell(self, table: Table | None, treatment: Treatment) -> dict[str, Tensor]:
        """The tables that a launch reads, on the device.

        Args:
            table: the hyperparameters; None where only gradients are measured.
            treatment: what is done to gradients.
        """
        words = self._words
        if words is None:
            shapes = {
                "addresses": (self._plan.addresses.shape, np.int64),
                "vectors": ((len(self._sent), len(self._lengths)), np.float64),
                "scalars": ((len(treatment.factor), len(self._columns)), np.float64),
            }
            words = self._words = Words(shapes, self._device)
        words.host["addresses"][...] = self._plan.addresses
        own = {"step": self._steps, "fresh": self.fresh, "numel": self.sizes}
        for row, name in zip(words.host["vectors"], self._sent, strict=True):
            row[...] = own[name]
        if table is not None and table is not self._table:
            for hyper, column in zip(
                self.rule.scalar_hypers, zip(*table.values, strict=True), strict=True
            ):
                self._write(words, hyper.name, column, read=not self.counts_on_device)
            self._table = table
        if treatment is not self._treatment:
            for name in TREATMENT:
                self._write(words, name, getattr(treatment, name), read=False)
            self._treatment = treatment
        tables = self._embed(words) if _capturing(self._device) else words.send()
        for name, tensors in self._unread.items():
            numbers = tables["scalars"][:, self._columns.index(name)]
            if len(tensors) == len(numbers) and all(t is tensors[0][1] for _, t in tensors):
                numbers.copy_(tensors[0][1].detach().reshape(()))
            else:
                for group, tensor in tensors:
                    numbers[group].copy_(tensor.detach().reshape(()))
        return tables

    def _embed(self, words: Words) -> dict[str, Tensor]:
        """The same for a graph that is being captured."""
        if not self.counts_on_device:
            raise EngineError(
                "A step in a captured graph must be asked for with capturable=True: this one "
                "counts its steps on the host, which takes no part in a replay"
            )
        meter = () if self._meter is None else self._meter.tables
        units = () if self._units is None else (*self._units.tables, self._owners)
        kept = (*self._launch.tables, *meter, *units)
        kept += (*self._kept.values(), self._scale, self._skip)
        # A replay reads these tables, so they must live as long as the parameters do.
        weakref.finalize(self.members.params[0], _release, kept).atexit = False
        return words.embed()

    def _scale_of(self, treatment: Treatment) -> Tensor:
        return self._scale if treatment.scale is None else _single(treatment.scale, self._device)

    def measure(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], treatment: Treatment
    ) -> Measures:
        """The sum of squares of each gradient, before and after its limits: one launch.

        Where units are clipped, there is another that adds up theirs.
        """
        if self._meter is None:
            self._meter = self._make_meter()
        tables, units = self._tell(None, treatment), self._units
        places = map(self._program.arrays.index, self._meter.arrays)
        rows = [tables["addresses"][k : k + 1] for k in places]
        addresses = rows[0] if units is None else units.addresses(torch.cat(rows))
        given = (tables["scalars"], self._scale_of(treatment), self._skip, ())
        together.run([self._meter(addresses, *given)])
        sums = self._meter.sums.unbind(1)
        raw, clamped = sums[0], sums[int("clip_value" in self.members.clips)]
        if units is None:
            return raw, clamped
        share = tables["scalars"][:, self._columns.index("clip_agc")].index_select(0, self._owners)
        gains = clip.unit_gains(clamped.sqrt(), sums[-1].sqrt(), units.each(share))
        self._launch.units = (gains, units.table)
        return units.over_tensors(raw), units.over_tensors(clamped * gains**2)

    def _update(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        table: Table,
        treatment: Treatment,
    ) -> Turns:
        if self._steps is not None:
            self._steps += 1
        tables = self._tell(table, treatment)
        sent = dict(zip(self._sent, tables["vectors"], strict=True))
        yield from self._launch(
            tables["addresses"],
            tables["scalars"],
            self._scale_of(treatment),
            self._skip if treatment.skip is None else _single(treatment.skip, self._device),
            [self._kept[n] if n in self._kept else sent[n] for n in self._vectors],
        )
        self._plan.release()
        self._changed(params)


class CountingTritonBucket(TritonBucket):
    """The same for fused and capturable steps: the device counts them."""

    counts_on_device = True


def _single(number: Tensor, device: torch.device) -> Tensor:
    return number.detach().to(device, torch.float32, non_blocking=True)


def _capturing(device: torch.device) -> bool:
    """Whether work on a device is being recorded into a graph, not done."""
    if device.type == "cpu":
        return False
    module = torch.get_device_module(device)
    return bool(getattr(module, "is_current_stream_capturing", lambda: False)())


def _refuse_capture(device: torch.device) -> None:
    if _capturing(device):
        raise EngineError(
            "These tensors were not stepped (or not measured) before, so there are no kernels and "
            "tables for them, and none can be made while a graph is captured. Take a step first"
        )


def _release(kept: tuple[Tensor, ...]) -> None:
    """Nothing to do: what was kept is let go of."""
