"""The range test: what it sweeps, when it stops, what it reports, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.utils.data import DataLoader, TensorDataset

import downslope
from downslope import RangeTest, find_lr, optim
from downslope.errors import InputError, InputTypeError
from downslope.schedules import cosine
from downslope.tasks import Metric, Task

mpl.use("Agg")
mse = nn.functional.mse_loss


def problem(rows: int = 64) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """A linear regression with a known answer, in batches of 16."""
    torch.manual_seed(0)
    x = torch.randn(rows, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    return nn.Linear(4, 1), list(zip(x.split(16), y.split(16), strict=True))


def sweep(**options: Any) -> RangeTest:
    model, loader = problem()
    optimizer = options.pop("optimizer", None) or optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return find_lr(
        options.pop("model", model),
        options.pop("loss_fn", mse),
        options.pop("loader", loader),
        optimizer,
        **{"progress": False, **options},
    )


def line_task() -> Task:
    x = torch.linspace(-1, 1, 48)[:, None]
    data = TensorDataset(x, 3 * x + 0.1 * torch.sin(40 * x))
    return Task(
        name="line",
        model=lambda: nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1)),
        loss=mse,
        train=data,
        validation=data,
        metric=Metric("mse", lambda o, t: float(mse(o, t)), higher_is_better=False),
        batch_size=8,
        epochs=3,
        kind="regression",
    )


@pytest.mark.parametrize(
    ("growth", "space"), [("exponential", np.geomspace), ("linear", np.linspace)]
)
def test_learning_rates_grow_from_start_to_end(growth: Any, space: Callable[..., Any]) -> None:
    """Exponential growth multiplies, linear growth adds; both ends are included."""
    test = sweep(start=1e-5, end=1e-3, iterations=20, growth=growth)
    assert test.lrs == pytest.approx(space(1e-5, 1e-3, 20), rel=1e-12)


def test_the_defaults_are_the_guides() -> None:
    """From 1e-7 towards 10; the sweep stops early because the loss diverges."""
    test = sweep()
    assert test.lrs[0] == pytest.approx(1e-7)
    assert test.lrs[1] / test.lrs[0] == pytest.approx(10 ** (8 / 99))
    assert test.diverged_at == test.lrs[-1] < 10


def test_each_step_uses_its_learning_rate() -> None:
    """Plain SGD on a constant gradient moves by lr * gradient at every iteration."""
    weight = nn.Linear(1, 1, bias=False)
    seen: list[float] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(weight.weight.item())
        return outputs.mean()

    test = sweep(
        model=weight.double(),
        loss_fn=loss,
        loader=[(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1))],
        optimizer=torch.optim.SGD(weight.parameters(), lr=0.1),
        start=1e-3,
        end=1e-1,
        iterations=10,
    )
    np.testing.assert_allclose(-np.diff(seen), test.lrs[:-1], rtol=1e-9)


def test_a_short_loader_is_read_again() -> None:
    """Four batches serve for 30 iterations."""
    assert len(sweep(iterations=30, end=1e-3).lrs) == 30


def test_it_stops_when_the_loss_is_four_times_its_best() -> None:
    """The last average is the first above 4 times the smallest."""
    test = sweep()
    best = np.minimum.accumulate(test.smoothed[6:])
    assert (np.array(test.smoothed[6:]) > 4 * best).tolist() == [False] * (len(best) - 1) + [True]


def test_it_stops_at_nan() -> None:
    """The learning rate of a NaN loss is reported; the curve before it is kept."""
    count = 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return mse(outputs, targets) * (math.nan if count == 13 else 1)

    test = sweep(loss_fn=loss)
    assert (len(test.losses), count) == (12, 13)
    assert test.diverged_at == pytest.approx(np.geomspace(1e-7, 10, 100)[12])
    assert all(map(math.isfinite, test.losses))


def test_a_loss_that_is_nan_at_once_has_no_answer() -> None:
    """The result says why there is no suggestion, and can still be saved and drawn."""
    test = sweep(loss_fn=lambda outputs, targets: mse(outputs, targets) * math.nan)
    assert test.suggestion is None
    assert "not a finite number before the first step" in test.reason
    assert RangeTest.from_dict(test.to_dict()) == test
    assert test.plot().get_title() == test.reason


def test_clipping_bounds_the_gradient() -> None:
    """With ``clip_norm`` the gradients that the optimizer sees have at most that norm."""
    norms: list[float] = []
    model, _ = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameters = list(model.parameters())

    def note(*_: Any) -> None:
        grads = [p.grad.flatten() for p in parameters if p.grad is not None]
        norms.append(float(torch.cat(grads).norm()))

    optimizer.register_step_pre_hook(note)
    sweep(model=model, optimizer=optimizer, clip_norm=0.5, iterations=15)
    assert max(norms) <= 0.5 * (1 + 1e-5)
    norms.clear()
    sweep(model=model, optimizer=optimizer, iterations=15)
    assert max(norms) > 0.5


def test_a_scaler_changes_nothing_in_float32() -> None:
    """Scaled losses are scaled back before clipping: the same curve to rounding."""
    with_scaler = sweep(scaler=GradScaler("cpu", init_scale=256.0), clip_norm=1.0)
    assert with_scaler.losses == pytest.approx(sweep(clip_norm=1.0).losses, rel=1e-4)


def test_autocast_runs_the_forward_pass_in_16_bits() -> None:
    """The outputs that the loss function gets have the dtype asked for."""
    dtypes = set()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        dtypes.add(outputs.dtype)
        return mse(outputs.float(), targets)

    sweep(loss_fn=loss, autocast=torch.bfloat16, iterations=10)
    assert dtypes == {torch.bfloat16}


def test_every_iteration_is_reported() -> None:
    """``on_step`` gets the event of each iteration, the last one's too."""
    events: list[dict[str, Any]] = []
    test = sweep(iterations=12, end=1e-3, on_step=events.append)
    expected = [
        {"event": "find_lr", "iteration": k, "iterations": 12, "lr": lr, "loss": loss}
        for k, (lr, loss) in enumerate(zip(test.lrs, test.losses, strict=True), start=1)
    ]
    assert events == expected


def test_the_bar_shows_lr_and_loss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal there is a bar with both; elsewhere nothing is printed."""
    sweep(iterations=10, end=1e-3, progress=True)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    test = sweep(iterations=10, end=1e-3, progress=True)
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert f"lr 1.0e-03  loss {test.losses[-1]:.4g}" in shown


def test_groups_keep_the_ratio_of_their_learning_rates() -> None:
    """The largest group's lr is swept; one at a tenth of it stays at a tenth."""
    model, _ = problem()
    groups = [{"params": [model.weight], "lr": 0.02}, {"params": [model.bias], "lr": 0.2}]
    optimizer = torch.optim.SGD(groups)
    seen: list[list[float]] = []
    optimizer.register_step_pre_hook(
        lambda o, *_: seen.append([group["lr"] for group in o.param_groups])
    )
    test = sweep(model=model, optimizer=optimizer, iterations=10, end=1e-3)
    assert [b for _, b in seen] == list(test.lrs)
    assert [a for a, _ in seen] == pytest.approx([0.1 * lr for lr in test.lrs])


def test_the_suggestion_trains() -> None:
    """200 steps at the suggestion reach a hundredth of the first loss, with SGD and AdamW."""
    for kind, arguments in ((optim.SGD, {"momentum": 0.9}), (optim.AdamW, {"weight_decay": 0.0})):
        model, loader = problem()
        optimizer = kind(model.parameters(), lr=1.0, **arguments)
        lr = find_lr(model, mse, loader, optimizer, steps=200, progress=False).suggestion
        assert lr is not None
        optimizer.param_groups[0]["lr"] = lr
        losses = []
        for step in range(200):
            inputs, targets = loader[step % len(loader)]
            optimizer.zero_grad()
            loss = mse(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.01 * losses[0]


def test_a_task_is_enough() -> None:
    """With a task the rest is built, from the seed: the same twice, another with another seed."""
    first = find_lr(line_task(), progress=False)
    assert first.optimizer == "adamw"
    assert first == find_lr(line_task(), progress=False)
    assert first.losses != find_lr(line_task(), seed=1, progress=False).losses


def test_a_task_leaves_the_random_generators_alone() -> None:
    """Seeding the model does not seed the caller."""
    before = torch.get_rng_state()
    find_lr(line_task(), progress=False)
    assert torch.get_rng_state().equal(before)


def test_a_tasks_optimizer_takes_hyperparameters() -> None:
    """``optimizer`` is a name, ``hyperparameters`` its arguments."""
    plain = find_lr(line_task(), optimizer="sgd", progress=False)
    heavy = find_lr(line_task(), optimizer="SGD", hyperparameters={"momentum": 0.9}, progress=False)
    assert plain.optimizer == heavy.optimizer == "sgd"
    assert plain.losses[:2] == heavy.losses[:2]
    assert plain.losses != heavy.losses


def test_a_task_sees_new_orders_of_its_rows() -> None:
    """Each pass over a task's data is another permutation."""
    seen: list[float] = []
    task = line_task()

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            seen.extend(x.flatten().tolist())
            return x * self.weight

    watched = Task(**{**vars(task), "model": Watch})
    find_lr(watched, iterations=12, end=1e-3, progress=False)
    assert seen[:48] != seen[48:]
    assert sorted(seen[:48]) == sorted(seen[48:])


def test_a_tasks_own_length_decides_the_factor() -> None:
    """Twenty times the epochs give a lower suggestion from the same curve."""
    short = find_lr(line_task(), progress=False)
    long = find_lr(Task(**{**vars(line_task()), "epochs": 600}), progress=False)
    assert long.losses == short.losses
    assert short.suggestion is not None
    assert long.suggestion == pytest.approx(short.suggestion / (600 * 6 / 300) ** 0.7)


def test_a_result_survives_json() -> None:
    """Saved as JSON and read back, a result is equal."""
    test = sweep()
    assert RangeTest.from_dict(json.loads(json.dumps(test.to_dict()))) == test


def test_something_else_is_no_saved_result() -> None:
    """A dict with other keys is refused by name."""
    with pytest.raises(InputError, match=r"not a saved range test: it has the keys .*'lrs'"):
        RangeTest.from_dict({"lrs": []})


def test_the_plot_shows_everything() -> None:
    """A logarithmic axis, both curves, the band, the steepest point and the suggestion."""
    test = sweep()
    axes = test.plot()
    assert axes.get_xscale() == "log"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.split()[0] for label in labels] == [
        "loss",
        "smoothed",
        "band",
        "steepest",
        "suggestion",
    ]
    assert labels[-1] == f"suggestion {test.suggestion:.1e}"
    assert test.plot(ax=axes) is axes
    mpl.pyplot.close("all")


def test_the_package_offers_it() -> None:
    """``downslope.find_lr`` is the function."""
    assert downslope.find_lr is find_lr


class Silent(nn.Module):
    """A model whose loader matters, not its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "start 0": ({"start": 0}, "need 0 < start < end, got start=0"),
    "start nan": ({"start": math.nan}, "start must be a finite number, got nan"),
    "end before start": ({"end": 1e-8}, "need 0 < start < end"),
    "iterations": ({"iterations": 9}, "iterations must be a whole number >= 10, got 9"),
    "growth": ({"growth": "exponental"}, "Unknown growth 'exponental'. Did you mean 'exponential'"),
    "clip_norm": ({"clip_norm": -1.0}, "clip_norm must be a number > 0 or None, got -1.0"),
    "steps": ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
    "no batches": ({"loader": []}, "the loader is empty"),
    "an iterator": (
        {"loader": iter(problem()[1])},
        "ended after 4 batches and gives none when read again",
    ),
    "dict batches": ({"loader": [{"x": 1}]}, r"must give \(inputs, targets\), got dict"),
    "inputs alone": ({"loader": DataLoader(TensorDataset(torch.ones(4, 4)))}, "got list of 1"),
    "a vector loss": ({"loss_fn": lambda o, t: o - t}, r"one number .* tensor of shape \(16, 1\)"),
    "a float loss": ({"loss_fn": lambda o, t: 0.5}, "one number as a tensor, got 0.5"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(options: dict[str, Any], message: str) -> None:
    """The error says what came and what is allowed."""
    with pytest.raises((InputError, InputTypeError), match=message):
        sweep(**options)


def test_a_scheduled_lr_is_refused() -> None:
    """An optimizer that sets its own lr at each step would make the sweep a lie."""
    model, _ = problem()
    scheduled = optim.SGD(model.parameters(), lr=0.5 * cosine(50))
    with pytest.raises(InputError, match=r"set its own lr .* build it with a number"):
        sweep(model=model, optimizer=scheduled)


def test_wrong_arguments_say_what_was_meant() -> None:
    """Anything but the two forms is an error that names the types that came."""
    model, _ = problem()
    with pytest.raises(InputTypeError, match=r"or a task, got \(Linear, NoneType, NoneType, str\)"):
        find_lr(model)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(InputTypeError, match="with a task, optimizer must be a name, got SGD"):
        find_lr(line_task(), optimizer=optim.SGD(model.parameters()))  # type: ignore[call-overload]  # on purpose
    with pytest.raises(InputError, match="Unknown argument of AdamW 'momentum'"):
        find_lr(line_task(), hyperparameters={"momentum": 0.9})
    with pytest.raises(InputError, match="Unknown optimizer 'adamv'"):
        find_lr(line_task(), optimizer="adamv")
