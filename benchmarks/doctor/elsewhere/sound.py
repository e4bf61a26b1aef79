"""Sound runs by recipes that people use, of kinds that the other runs here are not."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim import lr_scheduler as S

from .loops import (
    Decoder,
    Loop,
    Recurrent,
    convnet,
    cut,
    digits,
    each_symbol,
    epochs,
    flat,
    mlp,
    prices,
    resnet,
    sound,
    supervised,
    table,
    text,
)

CE = F.cross_entropy


def rising(optimizer: torch.optim.Optimizer, steps: int, warm: int = 20) -> S.LambdaLR:
    return S.LambdaLR(
        optimizer,
        lambda k: min(1, (k + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(1, k / steps))),
    )


@sound
def characters_by_a_transformer() -> Loop:
    data, n = text()
    model = Decoder(n)
    opt = AdamW(model.parameters(), 3e-3, weight_decay=0.1)
    return supervised(model, data, each_symbol, opt, schedule=rising(opt, 400), clip=1.0, batch=16)


@sound
def a_residual_net_by_one_cycle() -> Loop:
    model = resnet()
    opt = SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return supervised(model, digits(), CE, opt, schedule=S.OneCycleLR(opt, 0.1, total_steps=401))


def gan(of: str) -> Loop:
    g, d = (
        mlp(4, 32, 32, 2, act=lambda: nn.LeakyReLU(0.2)),
        mlp(2, 32, 32, 1, act=lambda: nn.LeakyReLU(0.2)),
    )
    og, od = (Adam(m.parameters(), 1e-3, betas=(0.5, 0.999)) for m in (g, d))
    bce = F.binary_cross_entropy_with_logits

    def step(k: int) -> Tensor:
        angle = 6.28 * torch.rand(64)
        real = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(64, 2)
        fake = g(torch.randn(64, 4))
        od.zero_grad()
        ld = bce(d(real), torch.ones(64, 1)) + bce(d(fake.detach()), torch.zeros(64, 1))
        ld.backward()
        od.step()
        og.zero_grad()
        lg = bce(d(fake), torch.ones(64, 1))
        lg.backward()
        og.step()
        return (lg if of == "g" else ld).detach()

    return Loop(g if of == "g" else d, og if of == "g" else od, step, steps=600)


@sound
def the_discriminator_of_two_nets() -> Loop:
    return gan("d")


@sound
def a_policy_by_its_rewards() -> Loop:
    model = mlp(4, 32, 3, act=nn.Tanh)
    opt = Adam(model.parameters(), 1e-2)
    truth, kept = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), [0.0]

    def step(k: int) -> Tensor:
        s = torch.randn(32, 4)
        told = torch.distributions.Categorical(logits=model(s))
        a = told.sample()
        reward = (s @ truth).gather(1, a[:, None])[:, 0]
        loss = -(told.log_prob(a) * (reward - kept[0])).mean()
        kept[0] = 0.9 * kept[0] + 0.1 * float(reward.mean())
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return Loop(model, opt, step, steps=500)


@sound
def a_flow_of_two_variables() -> Loop:
    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nets = nn.ModuleList(mlp(1, 32, 2, act=nn.Tanh) for _ in range(6))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            a, b, log = x[:, :1], x[:, 1:], torch.zeros(len(x))
            for net in self.nets:
                scale, shift = net(a).chunk(2, 1)
                b, log = b * scale.tanh().exp() + shift, log + scale.tanh().sum(1)
                a, b = b, a
            return torch.cat([a, b], 1), log

    def loss(out: tuple[Tensor, Tensor], _: Tensor) -> Tensor:
        return (0.5 * out[0].square().sum(1) - out[1]).mean()

    g = torch.Generator().manual_seed(3)
    x = 0.3 * torch.randn(2000, 2, generator=g)
    x[:, 1] = 0.05 * x[:, 1] + x[:, 0].square()
    model = Flow()
    data = cut(x, x)
    return supervised(model, data, loss, Adam(model.parameters(), 2e-3), batch=128, told=False)


@sound
def a_language_model_continued() -> Loop:
    data, n = text()
    model = Recurrent(nn.GRU, n, n, 64, symbols=True)
    first = supervised(model, data, each_symbol, Adam(model.parameters(), 5e-3), told=False)
    for k in range(400):
        first.step(k)
    return supervised(model, data, each_symbol, Adam(model.parameters(), 1e-4), told=False)


@sound
def adapters_of_low_rank() -> Loop:
    class Adapted(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.layer = layer
            self.down = nn.Parameter(torch.randn(4, layer.in_features) / 8)
            self.up = nn.Parameter(torch.zeros(layer.out_features, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + x @ self.down.T @ self.up.T

    model = mlp(64, 64, 64, 10)
    opt = Adam(model.parameters(), 3e-3)
    x, y, vx, vy = flat(digits())
    for at, _ in zip(epochs(600, 32), range(250), strict=False):
        opt.zero_grad()
        CE(model(x[at].flip(1)), y[at]).backward()
        opt.step()
    for p in model.parameters():
        p.requires_grad_(False)
    for k in (0, 2, 4):
        model[k] = Adapted(model[k])
    return supervised(
        model, (x, y, vx, vy), CE, AdamW([p for p in model.parameters() if p.requires_grad], 5e-3)
    )


@sound
def prices_as_they_are() -> Loop:
    model = mlp(8, 64, 64, 1)
    opt = Adam(model.parameters(), 0.05)
    return supervised(model, prices(), F.mse_loss, opt, steps=1200)


@sound
def absolute_errors_of_raw_targets() -> Loop:
    model = mlp(10, 64, 64, 1)
    return supervised(
        model, table("diabetes", True), F.l1_loss, RMSprop(model.parameters(), 3e-3), steps=300
    )


@sound
def a_rate_that_starts_again() -> Loop:
    model = mlp(64, 64, 64, 10)
    opt = AdamW(model.parameters(), 3e-3)
    return supervised(
        model,
        flat(digits()),
        CE,
        opt,
        steps=700,
        schedule=S.CosineAnnealingWarmRestarts(opt, 100, 2),
    )


@sound
def a_straight_line() -> Loop:
    g = torch.Generator().manual_seed(7)
    x = torch.randn(800, 5, generator=g)
    y = (
        x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0], [3.0]])
        + 1
        + 0.1 * torch.randn(800, 1, generator=g)
    )
    model = nn.Linear(5, 1)
    return supervised(model, cut(x, y), F.mse_loss, SGD(model.parameters(), 0.01), steps=500)


@sound
def a_logistic_regression() -> Loop:
    model = nn.Linear(30, 2)
    return supervised(model, table("breast_cancer"), CE, SGD(model.parameters(), 0.1), steps=300)


@sound
def a_graph_of_friends() -> Loop:
    g = torch.Generator().manual_seed(2)
    y = torch.arange(300) % 3
    link = (torch.rand(300, 300, generator=g) < torch.where(y[:, None] == y, 0.05, 0.01)).float()
    link = ((link + link.T) > 0).float().fill_diagonal_(1)
    share = link.sum(1).rsqrt()
    link = share[:, None] * link * share
    x = torch.randn(300, 16, generator=g)
    x[:, :3] += 0.7 * F.one_hot(y, 3)

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = F.dropout(F.relu(link @ self.a(x)), 0.5, self.training)
            return link @ self.b(h)

    model = Graph()
    opt = Adam(model.parameters(), 0.01, weight_decay=5e-4)

    def step(k: int) -> Tensor:
        opt.zero_grad()
        loss = CE(model(x)[:60], y[:60])
        loss.backward()
        opt.step()
        return loss

    return Loop(model, opt, step, lambda: float(CE(model(x)[60:180], y[60:180])), 200)


@sound
def words_by_plain_descent_at_twenty() -> Loop:
    data, n = text()
    model = Recurrent(nn.LSTM, n, n, 64, symbols=True)
    return supervised(model, data, each_symbol, SGD(model.parameters(), 20.0), clip=0.25, batch=20)


@sound
def four_pictures_a_step() -> Loop:
    model = convnet()
    return supervised(
        model, digits(), CE, SGD(model.parameters(), 0.001, momentum=0.9), batch=4, steps=1500
    )


@sound
def another_kind_of_digits_later() -> Loop:
    x, y, *_ = digits()
    model = convnet()
    opt = Adam(model.parameters(), 2e-3)

    def step(k: int) -> Tensor:
        kind = (y < 5) if k < 200 else (y >= 0)
        at = torch.nonzero(kind)[:, 0][torch.randint(int(kind.sum()), (32,))]
        loss = CE(model(x[at]), y[at])
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return Loop(model, opt, step, None, 500)
