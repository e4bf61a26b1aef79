"""What PyTorch's own optimizer tests claim, said again; ``dev/torch_suite.py`` runs the originals.

Most of their claims are made by other files here, over the same variants: implementations agree
and follow torch (``test_trajectory``), errors in torch's words (``test_constructor``,
``test_kinds``), complex and sparse (``test_kinds``), step hooks, closures, named parameters and
groups that are added (``test_driving``), checkpoints as plain data, copies, ``repr``, numbers for
``step`` (``test_state_dict``), skipped steps (``test_scaler``), LBFGS (``test_lbfgs``). The rest is
here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.testing._internal.common_optimizers import optim_db

from .catalogue import BACKWARD, DRIVEN, TWINNED, TWINS, Entry, each, each_implementation
from .harness import (
    assert_same,
    assert_same_bits,
    build,
    detached,
    drive,
    leaves,
    rows_of,
    snapshot,
    start_of,
    tensors,
)

INFO = {info.name: info for info in optim_db}
STEPWISE = ("differentiable",)  # its parameters are no leaves


def linear(entry: Entry) -> tuple[list[Tensor], Callable[[], Tensor]]:
    """Parameters of one layer, as many as the optimizer takes, and a loss of them."""
    make = torch.Generator().manual_seed(5)
    weight = nn.Parameter(torch.randn(10, 5, generator=make))
    bias = nn.Parameter(torch.randn(10, generator=make))
    x = torch.randn(5, generator=make)
    params = [weight, bias] if entry.takes(bias) else [weight]

    def loss() -> Tensor:
        for p in params:
            p.grad = None
        value = (weight.mv(x) + (bias if len(params) > 1 else 0)).pow(2).sum()
        value.backward()
        for p in params if entry.sparse_only else ():
            assert p.grad is not None
            p.grad = p.grad.to_sparse()
        return value.detach()

    return params, loss


@each(TWINS)
def test_loss_falls_under_every_scheduler(entry: Entry) -> None:
    """With the schedulers of torch's database, alone and chained, and two groups, it goes down."""
    for makers in INFO[entry.name].scheduler_inputs:
        for variant in entry.variants[:3]:
            params, loss = linear(entry)
            kwargs = {k: v for k, v in variant.kwargs.items() if k != "capturable"}
            groups = [{"params": [p]} for p in params]
            optimizer = build(entry.ours, groups, kwargs)
            schedulers = [make(optimizer) for make in makers]
            before = loss()
            for _ in range(20):
                value = loss()
                optimizer.step()
                for scheduler in schedulers:
                    step_with(scheduler, value)
            sign = -1 if kwargs.get("maximize") else 1
            assert sign * loss() < sign * before, (variant.name, schedulers)


def step_with(scheduler: LRScheduler, value: Tensor) -> None:
    """One step of a scheduler, which may want the loss."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(value)
    else:
        scheduler.step()


@each_implementation(DRIVEN, without=STEPWISE)
def test_a_tensor_lr_is_its_number(entry: Entry, flags: dict[str, Any]) -> None:
    """A learning rate in a tensor, of no dimension or one, gives the bits of the number in it."""
    if flags.get("foreach") and entry.name in ("Adam", "AdamW"):
        pytest.skip("refused, as torch refuses it: see test_constructor")
    start = start_of(entry, torch.float64)
    ends = []
    for lr in (
        torch.tensor(0.01, dtype=torch.float64),
        torch.tensor([0.01], dtype=torch.float64),
        0.01,
    ):
        params = leaves(start)
        drive(build(entry.ours, params, {"lr": lr}, flags), rows_of(entry, start, 4))
        ends.append(detached(params))
    assert_same_bits(ends[0], ends[2])
    assert_same_bits(ends[1], ends[2])


@each_implementation(TWINNED, without=STEPWISE)
def test_a_layer_frozen_for_a_while(entry: Entry, flags: dict[str, Any]) -> None:
    """Steps without any gradient, and with a layer frozen and thawed, follow torch's for-loop."""
    ends = []
    for cls, own in ((entry.ours, flags), (entry.torch, entry.one_by_one)):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1), nn.Sigmoid()).double()
        extra = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        optimizer = build(cls, [*model.parameters(), extra], own)
        x = torch.linspace(0.1, 0.6, 6, dtype=torch.float64).reshape(3, 2)
        for i in range(7):
            optimizer.zero_grad()
            model[2].requires_grad_(not 3 <= i < 5)
            if i != 2:
                (model(x).sum() * (1 + extra.detach())).backward()
                optimizer.step()
        ends.append((detached(model.parameters()), tensors(snapshot(optimizer))))
    assert_same(ends[0][0], ends[1][0])
    assert_same(ends[0][1], ends[1][1])


@pytest.mark.parametrize("default", [torch.float64, torch.float16])
@each_implementation(TWINNED, without=STEPWISE)
def test_kind_of_the_step_count(entry: Entry, flags: dict[str, Any], default: torch.dtype) -> None:
    """``step`` is float64 where that is the default dtype, else float32, as torch's."""
    kinds = []
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        for cls in (entry.ours, entry.torch):
            params = [torch.ones(3, dtype=torch.float64, requires_grad=True)]
            optimizer = build(cls, params, flags if cls is entry.ours else entry.one_by_one)
            drive(optimizer, [[torch.ones(3, dtype=torch.float64)]] * 2)
            kinds.append(
                {k: getattr(v, "dtype", None) for k, v in optimizer.state[params[0]].items()}
            )
    finally:
        torch.set_default_dtype(before)
    assert kinds[0] == kinds[1]


@each(tuple(e for e in TWINNED if "fused" in e.implementations()))
def test_fused_on_the_meta_device(entry: Entry) -> None:
    """Parameters without memory are refused in torch's words."""
    model = nn.Linear(2, 3, device="meta")
    optimizer = entry.ours(model.parameters(), fused=True)
    for p in model.parameters():
        p.grad = torch.empty_like(p)
    words = "`fused=True` requires all the params to be floating point Tensors"
    with pytest.raises(RuntimeError, match=words):
        optimizer.step()


@each_implementation(DRIVEN, without=STEPWISE)
def test_gradients_of_zero_move_nothing(entry: Entry, flags: dict[str, Any]) -> None:
    """Without weight decay, steps on zeros, and on sparse gradients that name nothing, stay."""
    start = start_of(entry)
    kwargs = (
        {"weight_decay": 0} if any(h.name == "weight_decay" for h in entry.ours.rule.hypers) else {}
    )
    kwargs |= {"lambd": 0} if entry.name == "ASGD" else {}  # a decay under another name
    params = leaves(start)
    zeros = [torch.zeros_like(t) for t in start]
    zeros = [z.to_sparse() for z in zeros] if entry.sparse_only else zeros
    drive(build(entry.ours, params, kwargs, flags), [zeros] * 3)
    assert_same_bits(detached(params), start)


@each_implementation(DRIVEN, without=STEPWISE)
def test_gradients_are_never_written_to(entry: Entry, flags: dict[str, Any]) -> None:
    """Their version counters stand still, whatever the variant, and so do their values."""
    for variant in entry.variants:
        start = start_of(entry)
        params, rows = leaves(start), rows_of(entry, start, 1)
        for p, g in zip(params, rows[0], strict=True):
            p.grad = g.clone()
        versions = [p.grad._version for p in params if p.grad is not None]
        optimizer = build(entry.ours, params, variant.kwargs, flags)
        for _ in range(3):
            optimizer.step()
        assert versions == [p.grad._version for p in params if p.grad is not None]
        assert_same_bits([dense(p.grad) for p in params], map(dense, rows[0]))


def dense(t: Tensor | None) -> Tensor:
    """A gradient without its sparseness."""
    assert t is not None
    return t.to_dense() if t.is_sparse else t


@pytest.mark.parametrize("saved_with", [True, False])
@pytest.mark.parametrize("loaded_with", [True, False])
@each(TWINS)
def test_states_with_and_without_names(entry: Entry, saved_with: bool, loaded_with: bool) -> None:
    """Either loads the other, to the same bits; the names are kept if one of them has any."""
    start = start_of(entry)
    rows = rows_of(entry, start, 6)

    def named(params: list[Tensor], give: bool) -> Any:
        return [(f"name{i}", p) for i, p in enumerate(params)] if give else params

    whole, params = leaves(start), leaves(start)
    drive(build(entry.ours, whole), rows)
    first = build(entry.ours, named(params, saved_with))
    drive(first, rows[:3])
    second = build(entry.ours, named(params, loaded_with))
    second.load_state_dict(snapshot(first))
    drive(second, rows[3:])
    assert_same_bits(detached(params), detached(whole))
    names = second.state_dict()["param_groups"][0].get("param_names")
    kept = [f"name{i}" for i in range(len(params))] if saved_with or loaded_with else None
    assert names == kept


@each(TWINS)
def test_state_of_a_torch_without_todays_flags(entry: Entry) -> None:
    """A checkpoint whose groups lack the flags that came later loads and steps as before."""
    start = start_of(entry)
    rows = rows_of(entry, start, 4)
    whole, params = leaves(start), leaves(start)
    drive(build(entry.ours, whole), rows)
    optimizer = build(entry.ours, params)
    drive(optimizer, rows[:2])
    old = snapshot(optimizer)
    for group in old["param_groups"]:
        for flag in INFO[entry.name].not_og_supported_flags:
            group.pop(flag, None)
    optimizer.load_state_dict(old)
    drive(optimizer, rows[2:])
    assert_same_bits(detached(params), detached(whole))


@each(DRIVEN)
def test_repeated_groups_have_one_form_in_a_state_dict(entry: Entry) -> None:
    """A group that is there twice is saved twice alike."""
    optimizer = build(entry.ours, leaves(start_of(entry)))
    once = optimizer.state_dict()["param_groups"][-1]
    optimizer.param_groups.extend(optimizer.param_groups)
    assert optimizer.state_dict()["param_groups"][-1] == once


@each(DRIVEN)
def test_hooks_before_loading_run_in_order(entry: Entry) -> None:
    """``prepend=True`` puts a hook first; each may put another dict in the place of the given."""
    optimizer = build(entry.ours, leaves(start_of(entry)))
    saved = snapshot(optimizer)

    def set_lr(_: Any, state_dict: dict[str, Any]) -> None:
        state_dict["param_groups"][0]["lr"] = 0.002

    def replace(_: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        other = copy.deepcopy(state_dict)
        other["param_groups"][0]["lr"] = 0.003
        return other

    optimizer.register_load_state_dict_pre_hook(replace)
    optimizer.load_state_dict(copy.deepcopy(saved))
    assert optimizer.param_groups[0]["lr"] == 0.003
    optimizer.register_load_state_dict_pre_hook(set_lr, prepend=True)
    optimizer.load_state_dict(copy.deepcopy(saved))
    assert optimizer.param_groups[0]["lr"] == 0.003
    optimizer.register_load_state_dict_pre_hook(set_lr)
    optimizer.load_state_dict(copy.deepcopy(saved))
    assert optimizer.param_groups[0]["lr"] == 0.002


@each(DRIVEN)
def test_a_hook_before_loading_may_mend_a_strange_state(entry: Entry) -> None:
    """What the hook returns is loaded and checked, not what was given."""
    start = start_of(entry)
    optimizer = build(entry.ours, leaves(start))
    drive(optimizer, rows_of(entry, start, 2))
    saved = snapshot(optimizer)
    strange = copy.deepcopy(saved)
    strange["state"][0] = {"renamed": torch.ones(2)}
    optimizer.register_load_state_dict_pre_hook(lambda *_: copy.deepcopy(saved))
    optimizer.load_state_dict(strange)
    assert_same_bits(tensors(optimizer.state_dict()), tensors(saved))


@each(DRIVEN)
def test_hooks_may_keep_their_own_in_the_state(entry: Entry) -> None:
    """Entries beside the parameters' are saved and loaded, and seen by the hooks afterwards."""
    optimizer = build(entry.ours, leaves(start_of(entry)))
    seen: list[Any] = []
    optimizer.register_state_dict_pre_hook(lambda o: o.state.update(note=1))
    optimizer.register_load_state_dict_post_hook(
        lambda o: seen.append((o.state["note"], o.param_groups[0]["lr"]))
    )
    saved = optimizer.state_dict()
    assert saved["state"]["note"] == 1
    saved["param_groups"][0]["lr"] = 0.5
    optimizer.load_state_dict(saved)
    assert seen == [(1, 0.5)]


@each(DRIVEN)
def test_a_hook_that_was_removed_is_gone(entry: Entry) -> None:
    """Step hooks run on every step until their handle is removed."""
    start = start_of(entry)
    optimizer = build(entry.ours, leaves(start))
    calls: list[str] = []
    before = optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    after = optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    rows = rows_of(entry, start, 3)
    drive(optimizer, rows[:2])
    before.remove()
    after.remove()
    drive(optimizer, rows[2:])
    assert calls == ["before", "after"] * 2


@each(DRIVEN)
def test_a_copy_has_the_same_public_attributes(entry: Entry) -> None:
    """``deepcopy`` loses no attribute and adds none, before a step and after."""
    start = start_of(entry)
    optimizer = build(entry.ours, leaves(start))
    for rows in ((), rows_of(entry, start, 2)):
        drive(optimizer, rows)
        names = [
            {n for n in vars(o) if not n.startswith("_")}
            for o in (optimizer, copy.deepcopy(optimizer))
        ]
        assert names[0] == names[1]


@each(BACKWARD)
def test_a_group_with_a_rate_of_nothing_stays(entry: Entry) -> None:
    """A group's own lr counts: beside one that falls, a group of lr 1e-28 does not move."""
    params, loss = linear(entry)
    idle = nn.Parameter(torch.randn(3, 2, generator=torch.Generator().manual_seed(2)))
    before = idle.detach().clone()
    small = {"step_sizes": (0, 50)} if entry.name == "Rprop" else {}
    groups = [{"params": params}, {"params": [idle], "lr": 1e-28, **small}]
    optimizer = build(entry.ours, groups)
    start = loss()
    for _ in range(20):
        loss()
        idle.grad = torch.ones_like(idle)
        optimizer.step()
    assert loss() < start
    assert_same([idle], [before])
