"""One of the processes of ``test_sharded.py``: tries each claim and writes down what went wrong."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

import downslope.optim
from downslope.engines.shards import Shards
from downslope.errors import NonfiniteGradientError

from .test_sharded import CLAIMS

RULES = (("AdamW", {"weight_decay": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9}), ("NAdam", {}))


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    # An odd width: the two shards are of unequal size, and one bias has a single element.
    widths = (6, 7, 5, 1)
    return torch.nn.Sequential(*map(torch.nn.Linear, widths[:-1], widths[1:]))


def sharded(mesh: DeviceMesh) -> torch.nn.Sequential:
    model = network()
    for layer in model:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int = 4) -> None:
    for step in range(steps):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def whole(tensors: object) -> list[torch.Tensor]:
    return [t.full_tensor() if isinstance(t, DTensor) else t for t in tensors]  # type: ignore[attr-defined]  # any iterable


def moves_as_one_process(mesh: DeviceMesh, folder: Path) -> None:
    """FSDP2 ends where one process ends, its shards stepped by the compiled engine."""
    for name, kwargs in RULES:
        model, alone = sharded(mesh), network()
        cls = getattr(downslope.optim, name)
        optimizer, single = cls(model.parameters(), **kwargs), cls(alone.parameters(), **kwargs)
        train(model, optimizer)
        train(alone, single)
        torch.testing.assert_close(whole(model.parameters()), list(alone.parameters()))
        assert [isinstance(b, Shards) for _, b in optimizer._buckets.placed] == [True]


def state_is_sharded_and_loads_into_torch(mesh: DeviceMesh, folder: Path) -> None:
    """State is DTensors like their parameters; torch's class goes on from the state dict."""
    ends = []
    for cls in (downslope.optim.AdamW, torch.optim.AdamW):
        model = sharded(mesh)
        optimizer = downslope.optim.AdamW(model.parameters())
        train(model, optimizer)
        slots = [s["exp_avg"] for s in optimizer.state.values()]
        for p, slot in zip(model.parameters(), slots, strict=True):
            assert slot.placements == p.placements
            assert slot.shape == p.shape
        goes_on = cls(model.parameters())
        goes_on.load_state_dict(optimizer.state_dict())
        train(model, goes_on)
        ends.append(whole(model.parameters()))
    torch.testing.assert_close(*ends)


def partial_gradients_are_summed(mesh: DeviceMesh, folder: Path) -> None:
    """A gradient that is still a sum over ranks, of a replicated parameter, is summed first."""
    p = torch.nn.Parameter(distribute_tensor(torch.ones(3), mesh, [Replicate()]))
    mine = torch.full((3,), float(dist.get_rank() + 1))
    p.grad = DTensor.from_local(mine, mesh, [Partial()])
    downslope.optim.SGD([p], lr=0.1).step()
    torch.testing.assert_close(p.to_local().detach(), torch.full((3,), 1 - 0.1 * 3))


def plain_gradient_is_refused(mesh: DeviceMesh, folder: Path) -> None:
    """A plain tensor as the gradient of a DTensor raises and says what to do."""
    p = torch.nn.Parameter(distribute_tensor(torch.ones(4), mesh, [Shard(0)]))
    optimizer = downslope.optim.SGD([p], lr=0.1)
    p.grad = torch.ones(4)
    with pytest.raises(RuntimeError, match=r"set \.grad to a DTensor"):
        optimizer.step()


def distributed_checkpoint_round_trips(mesh: DeviceMesh, folder: Path) -> None:
    """Saved and loaded by torch.distributed.checkpoint, training goes on as if never stopped."""
    model = sharded(mesh)
    optimizer = downslope.optim.AdamW(model.parameters())
    train(model, optimizer)
    state = {"model": model.state_dict(), "optim": get_optimizer_state_dict(model, optimizer)}
    dcp.save(state, checkpoint_id=folder / "checkpoint")
    train(model, optimizer)
    resumed = sharded(mesh)
    again = downslope.optim.AdamW(resumed.parameters())
    empty = {"model": resumed.state_dict(), "optim": get_optimizer_state_dict(resumed, again)}
    dcp.load(empty, checkpoint_id=folder / "checkpoint")
    resumed.load_state_dict(empty["model"])
    set_optimizer_state_dict(resumed, again, empty["optim"])
    train(resumed, again)
    for a, b in zip(whole(model.parameters()), whole(resumed.parameters()), strict=True):
        assert torch.equal(a, b)


def compact_state_is_sharded_and_round_trips(mesh: DeviceMesh, folder: Path) -> None:
    """int8 state follows float32 state, is sharded, and comes back from a checkpoint."""

    def made(storage: str) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(6, 256), torch.nn.Linear(256, 65))
        model = fully_shard(net, mesh=mesh)
        return model, downslope.optim.AdamW(model.parameters(), lr=0.01, storage=storage)

    full, exact = made("float32")
    model, optimizer = made("int8")
    train(full, exact)
    train(model, optimizer)
    weight = model[1].weight
    state = optimizer.state[weight]
    assert state["exp_avg"].dtype == torch.int8
    assert tuple(state["exp_avg_scale"].shape) == (65, 2)
    assert state["exp_avg_scale"].placements == weight.placements
    for a, b in zip(whole(model.parameters()), whole(full.parameters()), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0.02)
    saved = {"model": model.state_dict(), "optim": get_optimizer_state_dict(model, optimizer)}
    dcp.save(saved, checkpoint_id=folder / "compact")
    train(model, optimizer)
    resumed, again = made("int8")
    empty = {"model": resumed.state_dict(), "optim": get_optimizer_state_dict(resumed, again)}
    dcp.load(empty, checkpoint_id=folder / "compact")
    resumed.load_state_dict(empty["model"])
    set_optimizer_state_dict(resumed, again, empty["optim"])
    train(resumed, again)
    for a, b in zip(whole(model.parameters()), whole(resumed.parameters()), strict=True):
        assert torch.equal(a, b)
    opened = again.state_dict(storage="float32")["state"][2]["exp_avg"]
    assert opened.placements == weight.placements
    assert opened.dtype == torch.float32


def sums_over_the_whole_tensor(mesh: DeviceMesh, folder: Path) -> None:
    """A rule with sums takes them over all shards."""
    model, alone = sharded(mesh), network()
    for m in (model, alone):
        train(m, downslope.optim.Lion(m.parameters(), lr=0.01, cautious=True))
    torch.testing.assert_close(whole(model.parameters()), list(alone.parameters()))


def clips_by_the_norm_over_all_ranks(mesh: DeviceMesh, folder: Path) -> None:
    """The norm is that of all shards, of sharded and replicated parameters, in both engines."""
    for flags in ({}, {"foreach": False}):
        model, alone = sharded(mesh), network()
        norms = []
        for m in (model, alone):
            optimizer = downslope.optim.SGD(m.parameters(), lr=0.1, clip_norm=0.05, **flags)
            train(m, optimizer)
            norms.append(optimizer.grad_norm)
        assert norms[0] > 0.05
        assert norms[0] == pytest.approx(norms[1], rel=1e-6)
        torch.testing.assert_close(whole(model.parameters()), list(alone.parameters()))
    params = [
        torch.nn.Parameter(distribute_tensor(torch.zeros(4), mesh, [how]))
        for how in (Shard(0), Replicate())
    ]
    for p in params:
        p.grad = torch.full_like(p, 1.0)
    optimizer = downslope.optim.SGD(params, lr=0.1, clip_norm=100.0)
    optimizer.step()
    assert optimizer.grad_norm == pytest.approx(8**0.5)


def clips_values_and_units(mesh: DeviceMesh, folder: Path) -> None:
    """Elements are clamped shard by shard; a unit's norm is that over all of its shards."""
    for limits in ({"clip_value": 0.01}, {"clip_agc": 0.01, "clip_norm": 1.0}):
        model, alone = sharded(mesh), network()
        for m in (model, alone):
            train(m, downslope.optim.SGD(m.parameters(), lr=0.1, **limits))
        torch.testing.assert_close(whole(model.parameters()), list(alone.parameters()))


def a_nan_on_one_rank_stops_all(mesh: DeviceMesh, folder: Path) -> None:
    """A NaN in one rank's shard is an error on every rank; a skipped first step leaves no state."""
    p = torch.nn.Parameter(distribute_tensor(torch.ones(4), mesh, [Shard(0)]))
    p.grad = distribute_tensor(torch.tensor([1.0, 1.0, 1.0, float("nan")]), mesh, [Shard(0)])
    optimizer = downslope.optim.AdamW([p], on_nonfinite="raise")
    with pytest.raises(NonfiniteGradientError):
        optimizer.step()
    assert not optimizer.state
    assert torch.equal(p.full_tensor(), torch.ones(4))


def clips_by_the_norm_over_all_shards(mesh: DeviceMesh, folder: Path) -> None:
    """``clip_norm`` takes the norm over the mesh, as one process takes it over everything."""
    model, alone = sharded(mesh), network()
    for m in (model, alone):
        train(m, downslope.optim.SGD(m.parameters(), lr=0.5, clip_norm=0.05))
    torch.testing.assert_close(whole(model.parameters()), list(alone.parameters()))


def data_parallel_with_sharded_state(mesh: DeviceMesh, folder: Path) -> None:
    """DDP with ``ZeroRedundancyOptimizer`` around our optimizer ends where one process ends."""
    # The import warns of torch's own deprecations, which collecting doctests would stop at.
    from torch.distributed.optim import ZeroRedundancyOptimizer

    parallel, alone = network(), network()
    wrapped = torch.nn.parallel.DistributedDataParallel(parallel)
    optimizer = ZeroRedundancyOptimizer(
        wrapped.parameters(), optimizer_class=downslope.optim.AdamW, lr=0.01
    )
    train(wrapped, optimizer)
    train(alone, downslope.optim.AdamW(alone.parameters(), lr=0.01))
    torch.testing.assert_close(list(parallel.parameters()), list(alone.parameters()))


def attempt(claim: Callable[[DeviceMesh, Path], None], mesh: DeviceMesh, folder: Path) -> str:
    try:
        claim(mesh, folder)
    except Exception:  # noqa: BLE001  # whatever went wrong is what the other process reads
        return traceback.format_exc()
    return ""


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    for name in CLAIMS:
        said = attempt(globals()[name], mesh, folder)
        (folder / f"{name}-{dist.get_rank()}.txt").write_text(said)
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
