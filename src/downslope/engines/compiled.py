"""The Numba engine's bucket; not in ``cpu/``, because that imports Numba."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from . import clip, together
from .bucket import Measures, Table
from .clip import Treatment
from .planned import PlannedBucket
from .printing import row_names
from .together import Turns
from .trace import trace_sums

__all__ = ["CompiledBucket"]


class CompiledBucket(PlannedBucket):
    """Dense CPU tensors in one compiled call."""

    def _prepare(self) -> None:
        from .cpu.run import Launch  # imports Numba

        super()._prepare()
        agc = "clip_agc" in self.members.clips
        self._units = list(map(clip.units, self.members.params)) if agc else None
        self._launch = Launch(self._program, self._kinds, self._lengths, self._units)
        self._meter: Launch | None = None
        self._metered: Treatment | None = None
        names = row_names(self._program, self._kinds)
        self._names = names
        self._rows = np.zeros((len(self._lengths), len(names)))
        self._limits = {n: names.index(n) for n in ("clip_value", "gain", "factor") if n in names}
        self._changing = [(k, n) for k, n in enumerate(names) if n in self._vectors]
        self._table: Table | None = None
        self._treatment: Treatment | None = None

    def _gather_numbers(self) -> None:
        self._vectors = {name: self._gather(name).numpy() for name in self._counted}

    def measure(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], treatment: Treatment
    ) -> Measures:
        """The sum of squares of each gradient, before and after its limits, in one more pass."""
        clips = self.members.clips
        if self._meter is None:
            from .cpu.run import Launch

            program = trace_sums(clip.squares_rule(clips))
            kinds = self._kinds[1:2] * len(program.arrays)  # as the gradient
            self._meter = Launch(program, kinds, self._lengths, self._units)
            at = [self._program.arrays.index(name) for name in self._meter.arrays]
            self._meter_addresses = self._plan.addresses[at[0] : at[-1] + 1]  # p, g or g: a view
        meter = self._meter
        columns = treatment.columns
        if treatment is not self._metered:
            self._metered = treatment
            pairs = np.stack([columns["clip_value"], columns["factor"]], axis=1)
            self._meter_rows = pairs[self.groups]
        together.run([meter(self._meter_addresses, self._meter_rows)])
        clamped = int("clip_value" in clips)
        if "clip_agc" not in clips:
            sums = meter.sums.T.tolist()
            return sums[0], sums[clamped]
        sums = torch.from_numpy(meter.unit_sums).unbind(1)
        shares = torch.from_numpy(columns["clip_agc"][self.groups[meter.owner]])
        gains = clip.unit_gains(sums[clamped].sqrt(), sums[-1].sqrt(), shares)
        self._launch.set_units(gains.numpy())
        limited = sums[clamped] * gains**2
        return meter.over_tensors(sums[0].numpy()), meter.over_tensors(limited.numpy())

    def _update(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        table: Table,
        treatment: Treatment,
    ) -> Turns:
        rows, vectors = self._rows, self._vectors
        if "step" in vectors:
            vectors["step"] += 1
        if table is not self._table:
            columns = {**self.columns(table, vectors.get("step", _NO_STEPS)), **vectors}
            for k, name in enumerate(self._names):
                if name in columns:
                    rows[:, k] = columns[name]
            # Kept only once no slot is fresh: that column then stays as it is.
            self._table = None if self.fresh.any() else table
        else:
            for k, name in self._changing:
                rows[:, k] = vectors[name]
        if treatment is not self._treatment:
            limits = treatment.columns if self.members.clips else {"factor": treatment.wholes}
            for name, column in limits.items():
                if name in self._limits:
                    rows[:, self._limits[name]] = column[self.groups]
            self._treatment = treatment
        yield from self._launch(self._plan.addresses, rows)
        self._plan.release()
        for k, (name, _) in enumerate(self._program.passes[-1].numbers):
            vectors[name][:] = self._launch.numbers[:, k]
        self._changed(params)


_NO_STEPS = np.zeros(1)
