"""The range test: what it sweeps, when it stops, what it reports, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
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
from downslope.finder._trial import Trial
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


def test_the_sweep_goes_from_1e_7_until_it_diverges() -> None:
    """By 25 steps to 10, and stops early because the loss diverges."""
    test = sweep()
    assert test.lrs[0] == pytest.approx(1e-7)
    assert test.lrs[1] / test.lrs[0] == pytest.approx(10 ** (8 / 24))
    assert test.diverged_at == test.lrs[-1] < 10


def test_the_sweep_goes_on_while_it_has_not_diverged() -> None:
    """A loss of a millionth diverges far above 10; with an ``end`` it stops there."""

    def tiny(outputs: Tensor, targets: Tensor) -> Tensor:
        return 1e-3 * mse(outputs, targets)

    test = sweep(loss_fn=tiny)
    assert test.diverged_at is not None
    assert test.diverged_at > 10
    assert sweep(loss_fn=tiny, end=10.0).lrs[-1] == pytest.approx(10)


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
    np.testing.assert_allclose(-np.diff(seen)[: len(test.lrs) - 1], test.lrs[:-1], rtol=1e-9)


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
    assert len(test.losses) == 12
    assert test.diverged_at == pytest.approx(np.geomspace(1e-7, 10, 25)[12])
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
    """``on_step`` gets the event of each iteration: the sweep's first, then the races'."""
    events: list[dict[str, Any]] = []
    test = sweep(iterations=12, end=1e-3, on_step=events.append)
    swept = [
        {"event": "find_lr", "iteration": k, "iterations": 200, "lr": lr, "loss": loss}
        for k, (lr, loss) in enumerate(zip(test.lrs, test.losses, strict=True), start=1)
    ]
    assert events[:12] == swept
    assert [event["iteration"] for event in events] == list(range(1, len(events) + 1))
    raced = {event["lr"] for event in events[12:]}
    assert raced >= {lr for lr, _ in test.races}


def test_the_bar_shows_lr_and_loss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal there is a bar with both; elsewhere nothing is printed."""
    sweep(iterations=10, end=1e-3, progress=True)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    test = sweep(iterations=10, end=1e-3, progress=True)
    shown = capsys.readouterr().err
    assert "/200" in shown
    assert f"lr {test.races[-1][0]:.1e}  loss " in shown or "lr " in shown


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
    assert [b for _, b in seen[:10]] == list(test.lrs)
    assert [a for a, _ in seen] == pytest.approx([0.1 * b for _, b in seen])


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
    find_lr(watched, iterations=12, start=1e-5, end=1e-3, progress=False)
    assert seen[:48] != seen[48:96]
    assert sorted(seen[:48]) == sorted(seen[48:96])


def test_a_tasks_own_length_is_the_plan() -> None:
    """Its epochs times its batches: the same as ``steps=`` says."""
    longer = Task(**{**vars(line_task()), "epochs": 50})
    assert find_lr(longer, progress=False) == find_lr(line_task(), steps=300, progress=False)


@pytest.mark.parametrize("steps", [10, 300, 1500, 4000])
def test_it_costs_no_more_than_it_may(steps: int) -> None:
    """200 iterations or 15% of the planned run, counted in forward passes of the model."""
    model, loader = problem()
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    model.register_forward_hook(count)
    test = sweep(model=model, loader=loader, optimizer=optim.AdamW(model.parameters()), steps=steps)
    assert test.cost <= max(200, 0.15 * steps)
    assert calls <= max(200, 0.15 * steps) * 1.1


def test_races_are_judged_by_rows_that_they_do_not_train_on() -> None:
    """A quarter of the batches is never stepped on; of a single batch, a quarter of its rows."""
    for loader, held in (
        (problem()[1], 16),
        ([tuple(map(torch.cat, zip(*problem()[1], strict=True)))], 16),
    ):
        trained: set[float] = set()
        judged: set[float] = set()

        model = nn.Linear(4, 1)

        def watch(_: Any, args: Any, trained: Any = trained, judged: Any = judged) -> None:
            (trained if torch.is_grad_enabled() else judged).update(args[0][:, 0].tolist())

        model.register_forward_pre_hook(watch)
        trial = Trial(model, mse, loader, torch.optim.SGD(model.parameters(), lr=0.1))
        pool = trial.pool(20)
        trial.race(0.01, pool, 20, (20.0,), lambda lr, loss: None)
        assert len(judged) == held
        assert not judged & trained


def test_accumulated_batches_are_one_step() -> None:
    """Two batches of 8 with ``accumulation=2`` are a batch of 16, to rounding."""
    model, whole = problem()
    halves = [(a, b) for x, y in whole for a, b in zip(x.split(8), y.split(8), strict=True)]
    options: dict[str, Any] = {"model": model, "iterations": 12, "end": 1e-3}
    optimizer = optim.SGD(model.parameters(), 0.1)
    plain = sweep(loader=whole, optimizer=optimizer, **options)
    parts = sweep(loader=halves, optimizer=optimizer, accumulation=2, **options)
    assert parts.losses == pytest.approx(plain.losses, rel=1e-5)


def test_the_scale_of_the_loss_does_not_matter_to_adamw() -> None:
    """The loss times 30 gives nearly the same suggestion, and a thirtieth of SGD's."""
    for kind, factor in ((optim.AdamW, 1.0), (partial(optim.SGD, momentum=0.9), 30.0)):
        found = []
        for scale in (1.0, 30.0):
            model, loader = problem(256)
            test = sweep(
                model=model,
                loader=loader,
                optimizer=kind(model.parameters(), lr=0.1),
                loss_fn=lambda o, t, scale=scale: scale * mse(o, t),
                steps=300,
            )
            assert test.suggestion is not None
            found.append(test.suggestion)
        assert 0.6 < found[0] / (factor * found[1]) < 1.7


@pytest.mark.parametrize("flat", ["noise", "constant"])
def test_a_hopeless_loss_has_no_clear_answer(flat: str) -> None:
    """Where nothing can be learnt it says so, in place of a number."""
    torch.manual_seed(1)
    x = torch.randn(512, 4)
    y = torch.randn(512, 1) if flat == "noise" else torch.ones(512, 1)
    model = nn.Linear(4, 1)
    with torch.no_grad():  # the best there is already
        model.weight.zero_()
        model.bias.fill_(0.0 if flat == "noise" else 1.0)
    loader = list(zip(x.split(32), y.split(32), strict=True))
    test = sweep(model=model, loader=loader, optimizer=optim.SGD(model.parameters(), 0.1))
    assert (test.suggestion, test.confidence) == (None, "none")
    assert "no clear answer" in test.reason
    assert test.usual == test.fallback
    assert (test.usual is None) == (flat == "constant")  # there is no gradient


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
        "races,",
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
