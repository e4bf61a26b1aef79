"""Groups made from a model: what is decayed, how deep it lies, and that optimizers take them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from downslope import optim
from downslope.errors import InputError, InputTypeError
from downslope.schedules import constant, cosine, linear, warmup

from .harness import assert_same_bits, detached, snapshot


class Gain(nn.Module):
    """Somebody's own normalization, with a matrix of gains."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 4))


class MyRMSNorm(Gain):
    """Known by its name only."""


class Block(nn.Module):
    """Attention, norms, and a short container inside."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = MyRMSNorm()
        self.attention = nn.MultiheadAttention(4, 2)
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Transformer(nn.Module):
    """Embeddings, blocks, a final norm, and a head that may share the embeddings' weights."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 6, 4))
        self.words = nn.Embedding(10, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.final = nn.LayerNorm(4)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.head = nn.Linear(4, 10, bias=False)
        if tied:
            self.head.weight = self.words.weight


def names_in(groups: optim.ParamGroups, group: str) -> set[str]:
    return {name for g in groups if g["name"] == group for name, _ in g["params"]}


def depths_of(model: nn.Module, **kwargs: Any) -> dict[str, int]:
    """The depth of every parameter, read from its learning rate."""
    groups = optim.param_groups(model, lr=1.0, layer_decay=0.5, **kwargs)
    top = max(int(g["name"].split()[1].strip(",")) for g in groups)
    for group in groups:
        layer = int(group["name"].split()[1].strip(","))
        assert group["lr"] == 0.5 ** (top - layer)
    return {name: int(g["name"].split()[1].strip(",")) for g in groups for name, _ in g["params"]}


def test_only_weights_of_sums_are_decayed() -> None:
    """Linear and attention weights are decayed; biases, norms, embeddings and vectors are not."""
    groups = optim.param_groups(Transformer(), weight_decay=0.1)
    inside = ("attention.in_proj_weight", "attention.out_proj.weight", "mlp.0.weight")
    weights = {f"blocks.{k}.{name}" for k in range(3) for name in (*inside, "mlp.2.weight")}
    assert names_in(groups, "decay") == weights | {"head.weight"}
    assert {g["name"]: g["weight_decay"] for g in groups} == {"decay": 0.1, "no decay": 0.0}


def test_every_parameter_comes_once() -> None:
    """All trainable parameters are in the groups, each in one."""
    model = Transformer(tied=True)
    groups = optim.param_groups(model, lr=1.0, layer_decay=0.9)
    found = [id(p) for g in groups for _, p in g["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())


@pytest.mark.parametrize(
    "module",
    [
        nn.BatchNorm2d(3), nn.SyncBatchNorm(3), nn.InstanceNorm1d(3, affine=True),
        nn.GroupNorm(1, 3), nn.LayerNorm((2, 3)), nn.RMSNorm((2, 3)), MyRMSNorm(),
        nn.Embedding(5, 3), nn.EmbeddingBag(5, 3),
    ],
    ids=lambda m: type(m).__name__,
)  # fmt: skip
def test_modules_that_are_not_decayed(module: nn.Module) -> None:
    """Norms, of matrices too, and embeddings are known by their class."""
    assert [g["name"] for g in optim.param_groups(module)] == ["no decay"]


def test_biases_of_any_shape_are_not_decayed() -> None:
    """A bias is known by its name; a weight that has the word in it is none."""
    module = nn.ParameterDict({n: torch.ones(2, 2) for n in ("bias", "key_bias", "biased_weight")})
    assert names_in(optim.param_groups(module), "decay") == {"biased_weight"}


def test_no_decay_by_kind_and_pattern() -> None:
    """The caller's kinds and patterns take the place of the default."""
    model = Transformer()
    groups = optim.param_groups(model, no_decay=("norms", "blocks.?.mlp.*", "scale"))
    free = names_in(groups, "no decay")
    assert {"blocks.0.mlp.0.weight", "blocks.2.norm.weight", "final.weight", "scale"} <= free
    assert {"words.weight", "pos_embed", "head.weight"} <= names_in(groups, "decay")
    assert [g["name"] for g in optim.param_groups(model, no_decay=())] == ["decay"]
    assert "head.weight" in names_in(optim.param_groups(model, no_decay="head.*"), "no decay")


def test_tied_weights_are_not_decayed_if_one_home_is_not() -> None:
    """A head that shares an embedding's weights goes with the embedding, at its depth."""
    model = Transformer(tied=True)
    assert "words.weight" in names_in(optim.param_groups(model), "no decay")
    found = depths_of(model)
    assert "head.weight" not in found
    assert found["words.weight"] == 0


def test_frozen_parameters_are_left_out() -> None:
    """What needs no gradient is in no group, and does not move the depth of the others."""
    model = Transformer()
    whole = depths_of(model)
    model.words.weight.requires_grad_(False)
    model.blocks[1].requires_grad_(False)
    part = depths_of(model)
    assert part == {n: d for n, d in whole.items() if n in part}
    assert not {n for n in part if n.startswith(("words", "blocks.1"))}


def test_depth_is_the_order_of_the_blocks() -> None:
    """Embeddings are layer 0, each block one, what follows the last."""
    found = depths_of(Transformer())
    by_layer = [{n.split(".")[0] for n, d in found.items() if d == k} for k in range(5)]
    assert by_layer == [{"pos_embed", "words", "scale"}, *[{"blocks"}] * 3, {"final", "head"}]
    assert {found[f"blocks.{k}.mlp.2.weight"] - k for k in range(3)} == {1}


def test_containers_one_after_the_other_count_on() -> None:
    """Stages (a ResNet's) go on where the one before ended."""
    stage = lambda: nn.Sequential(*(nn.Sequential(nn.Linear(2, 2)) for _ in range(2)))  # noqa: E731  # one line
    model = nn.ModuleDict({"stem": nn.Linear(2, 2), "one": stage(), "two": stage()})
    found = depths_of(model)
    assert [found[f"{n}.0.weight"] for n in ("one.0", "one.1", "two.0", "two.1")] == [1, 2, 3, 4]


def test_a_container_around_a_longer_one_is_looked_through() -> None:
    """A backbone with its head in a Sequential keeps the backbone's layers."""
    model = nn.Sequential(Transformer(), nn.Linear(10, 2))
    found = depths_of(model)
    assert found["0.blocks.2.mlp.0.weight"] == 3
    assert found["1.weight"] == found["0.head.weight"] == 4


def test_depth_by_the_caller() -> None:
    """A function of names decides the depths, counted from the deepest."""
    model = Transformer()
    found = depths_of(model, depth=lambda name: 7 if name.startswith("head") else 2)
    assert found == {n: 7 if n.startswith("head") else 2 for n, _ in model.named_parameters()}


@pytest.mark.parametrize("cls", [optim.AdamW, torch.optim.AdamW])
def test_optimizers_take_the_groups(cls: Any) -> None:
    """Ours and torch's step the groups; names and rates are in ``param_groups``."""
    model = Transformer()
    groups = optim.param_groups(model, weight_decay=0.1, lr=0.01, layer_decay=0.5)
    free = {n for g in groups if g["weight_decay"] == 0 for n, _ in g["params"]}
    table = repr(groups)
    optimizer = cls(groups)
    assert repr(groups) == table  # torch's constructor writes to what it is given
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer.step()
    kept = {n for n, p in model.named_parameters() if torch.equal(p.detach(), before[n])}
    assert kept == free
    top = optimizer.param_groups[-2]
    assert (top["name"], top["lr"], top["param_names"]) == ("layer 4, decay", 0.01, ["head.weight"])


def test_each_group_follows_its_own_schedule_and_resumes() -> None:
    """Groups with different schedules take their values each step, before and after a resume."""
    rates = (warmup(3) >> cosine(5), constant(value=0.5), linear(6, start=1.0, end=0.0))

    def start() -> tuple[nn.Module, Any]:
        torch.manual_seed(0)
        model = Transformer()
        groups = optim.param_groups(model, lr=rates[0], layer_decay=0.5, weight_decay=rates[2])
        groups[-1]["lr"] = rates[1]
        return model, optim.AdamW(groups)

    def step(model: nn.Module, optimizer: Any) -> None:
        for p in model.parameters():
            p.grad = p.detach().sin()
        optimizer.step()

    model, optimizer = start()
    for k in range(8):
        step(model, optimizer)
        first, last = optimizer.param_groups[0], optimizer.param_groups[-1]
        assert first["lr"] == pytest.approx(rates[0](k) * 0.5**4)
        assert last["lr"] == 0.5
        assert first["weight_decay"] == 0.0
        assert optimizer.param_groups[-2]["weight_decay"] == rates[2](k)
        if k == 3:
            saved = snapshot(optimizer), {n: v.clone() for n, v in model.state_dict().items()}
    other, resumed = start()
    other.load_state_dict(saved[1])
    resumed.load_state_dict(saved[0])
    for _ in range(4):
        step(other, resumed)
    assert_same_bits(detached(other.parameters()), detached(model.parameters()))


def test_scaled_schedules_print_in_the_table() -> None:
    """The table shows every group with its name, rates and sizes."""
    text = repr(optim.param_groups(Transformer(), lr=warmup(3) >> cosine(5), layer_decay=0.5))
    lines = text.splitlines()
    assert lines[0].split() == ["name", "lr", "weight_decay", "tensors", "elements"]
    assert lines[1].startswith("layer 0, no decay")
    assert "warmup(3" in lines[1]
    assert "* 0.0625" in lines[1]
    assert lines[1].split()[-2:] == ["3", "65"]


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"no_decay": ["bias"]}, "Did you mean 'biases'"),
        ({"no_decay": ["head.bias"]}, r"no parameter's name fits .* 'head\.bias'"),
        ({"layer_decay": 0.5}, "layer_decay scales lr, which was not given"),
        ({"layer_decay": 0.0, "lr": 1.0}, "> 0 and <= 1, got 0.0"),
        ({"layer_decay": float("nan"), "lr": 1.0}, "> 0 and <= 1, got nan"),
        ({"layer_decay": True, "lr": 1.0}, "got True"),
        ({"layer_decay": 0.5, "lr": "1e-3"}, "lr must be a number"),
        ({"depth": len}, "depth is used by layer_decay"),
        ({"depth": lambda name: -1, "layer_decay": 0.5, "lr": 1.0}, "whole number >= 0, got -1"),
    ],
)
def test_bad_input_says_what_to_do(kwargs: dict[str, Any], words: str) -> None:
    """An argument that cannot be meant raises before anything is made."""
    with pytest.raises((InputError, InputTypeError), match=words):
        optim.param_groups(Transformer(), **kwargs)


def test_what_is_no_model_is_refused() -> None:
    """Parameters alone, and a model with nothing to train, raise."""
    with pytest.raises(InputTypeError, match=r"torch\.nn\.Module, got generator"):
        optim.param_groups(nn.Linear(1, 1).parameters())  # type: ignore[arg-type]  # the claim
    with pytest.raises(InputError, match="no trainable parameter"):
        optim.param_groups(nn.Linear(1, 1).requires_grad_(False))
