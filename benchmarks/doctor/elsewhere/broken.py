"""Runs with one fault each, made as people make them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.optim import lr_scheduler as S

from .loops import (
    Loop,
    Recurrent,
    convnet,
    cut,
    digits,
    epochs,
    faulty,
    flat,
    mlp,
    prices,
    series,
    supervised,
    table,
)

CE = F.cross_entropy


@faulty("gradients not cleared")
def accumulation_that_forgets_to_clear() -> Loop:
    model = convnet()
    return supervised(
        model,
        digits(),
        CE,
        SGD(model.parameters(), 0.05),
        batch=8,
        accumulate=4,
        clear=False,
        steps=300,
    )


@faulty("labels do not match")
def values_of_the_next_row() -> Loop:
    x, y, vx, vy = prices()
    model = mlp(8, 64, 64, 1)
    y, vy = (y - 2e5) / 8e4, (vy - 2e5) / 8e4
    return supervised(
        model,
        (x, y.roll(1, 0), vx, vy.roll(1, 0)),
        F.mse_loss,
        Adam(model.parameters(), 1e-3),
        steps=500,
    )


@faulty("labels do not match", "constant outputs")
def losses_of_all_pairs() -> Loop:
    x, y, vx, vy = prices()
    model = nn.Sequential(mlp(8, 64, 1), nn.Flatten(0))
    y, vy = (y - 2e5) / 8e4, (vy - 2e5) / 8e4

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (out - y).square().mean()  # [rows] - [rows, 1]

    return supervised(
        model, (x, y, vx, vy), loss, Adam(model.parameters(), 3e-3), steps=400, told=False
    )


@faulty("schedule ended early")
def epochs_of_the_schedule_taken_for_steps() -> Loop:
    model = convnet()
    opt = SGD(model.parameters(), 0.05, momentum=0.9)
    return supervised(model, digits(), CE, opt, schedule=S.StepLR(opt, 10, 0.5), steps=500)


@faulty("parameters not trained")
def a_trunk_that_is_cut_off() -> Loop:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = convnet()[:-1], nn.Linear(96, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.trunk(x).detach())

    model = Cut()
    return supervised(model, digits(), CE, Adam(model.parameters(), 1e-3))


@faulty("parameters not trained")
def indices_picked_between_layers() -> Loop:
    class Hard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.table, self.last = (
                nn.Linear(64, 16),
                nn.Embedding(16, 32),
                nn.Linear(32, 10),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.table(self.first(x).argmax(1)))

    model = Hard()
    return supervised(model, flat(digits()), CE, Adam(model.parameters(), 3e-3))


@faulty("lr too low", "slow optimizer")
def raw_prices_by_tiny_steps() -> Loop:
    model = mlp(8, 64, 1)
    return supervised(model, prices(), F.mse_loss, Adam(model.parameters(), 1e-4), steps=600)


@faulty("constant outputs", "saturated activations", "inputs not scaled")
def a_sigmoid_for_targets_beyond_it() -> Loop:
    model = nn.Sequential(mlp(10, 32, 1), nn.Sigmoid())
    return supervised(model, table("diabetes", True), F.mse_loss, Adam(model.parameters(), 1e-2))


@faulty("constant outputs", "vanishing gradients")
def all_weights_zero() -> Loop:
    model = mlp(64, 32, 32, 10)
    for p in model.parameters():
        nn.init.zeros_(p)
    return supervised(model, flat(digits()), CE, Adam(model.parameters(), 1e-3))


@faulty("weight decay too strong")
def a_penalty_in_adam() -> Loop:
    model = mlp(64, 64, 10)
    return supervised(model, flat(digits()), CE, Adam(model.parameters(), 1e-3, weight_decay=1.0))


@faulty("constant outputs", "labels do not match")
def labels_all_the_same() -> Loop:
    x, y, vx, vy = digits()
    model = convnet()
    return supervised(model, (x, 0 * y, vx, 0 * vy), CE, Adam(model.parameters(), 1e-3))


@faulty("lr too high", "exploding gradients")
def a_recurrent_net_that_explodes() -> Loop:
    model = Recurrent(nn.RNN, 1, 1, 32, last=True)
    nn.init.normal_(model.rnn.weight_hh_l0, std=1.0)
    return supervised(model, series(60), F.mse_loss, SGD(model.parameters(), 0.1, momentum=0.9))


@faulty("constant outputs")
def twins_that_agree_on_one_answer() -> Loop:
    x, _, vx, _ = flat(digits())
    model = mlp(64, 64, 16)
    opt = Adam(model.parameters(), 1e-2)
    rows = epochs(len(x), 64)

    def value(x: Tensor) -> Tensor:
        a = model(torch.cat([x + 0.5 * torch.randn_like(x), x + 0.5 * torch.randn_like(x)]))
        return (a[: len(x)] - a[len(x) :]).square().sum(1).mean()

    def step(k: int) -> Tensor:
        opt.zero_grad()
        loss = value(x[next(rows)])
        loss.backward()
        opt.step()
        return loss

    return Loop(model, opt, step, lambda: float(value(vx)), 500)


@faulty("constant outputs")
def the_input_overwritten() -> Loop:
    class Lost(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = convnet()

        def forward(self, x: Tensor) -> Tensor:
            x = torch.zeros_like(x)
            return self.net(x)

    model = Lost()
    return supervised(model, digits(), CE, Adam(model.parameters(), 1e-3))


@faulty("lr too high", "lr not lowered", "oscillation")
def momentum_of_99() -> Loop:
    model = mlp(64, 64, 64, 10)
    return supervised(
        model, flat(digits()), CE, SGD(model.parameters(), 0.1, momentum=0.99), batch=32, steps=500
    )


@faulty("exploding gradients", "lr too high")
def layers_of_deviation_one() -> Loop:
    model = mlp(64, 128, 128, 128, 128, 10)
    for layer in model[::2]:
        nn.init.normal_(layer.weight, std=1.0)
    return supervised(model, flat(digits()), CE, Adam(model.parameters(), 1e-3))


@faulty("inputs not scaled")
def degrees_of_kelvin() -> Loop:
    g = torch.Generator().manual_seed(1)
    x = 290 + 5 * torch.randn(1000, 6, generator=g)
    y = (((x[:, :1] - 290) * (x[:, 1:2] - 290)) > 0).float()
    model = mlp(6, 64, 64, 1)
    return supervised(
        model, cut(x, y), F.binary_cross_entropy_with_logits, Adam(model.parameters(), 1e-3)
    )


@faulty("not a number")
def an_infinite_target() -> Loop:
    x, y, vx, vy = prices()
    y = (y / 1e5).clone()
    y[300] = math.inf
    model = mlp(8, 32, 1)
    return supervised(
        model, (x, y, vx, vy / 1e5), F.mse_loss, Adam(model.parameters(), 1e-3), told=False
    )
