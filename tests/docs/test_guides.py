"""What docs/guides-errata.md says of the guides: each line of its tables is shown by a test here.

A guide's formula is written out as the guide has it, and run beside what is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.utils.data import TensorDataset

from downslope import Metric, Recipe, Task, fit, optim
from downslope.optim import lr_scheduler

ERRATA = Path(__file__).parents[2] / "docs" / "guides-errata.md"

STEPS = 6
CURVATURE = torch.tensor([1.0, 3.0, 0.1], dtype=torch.float64)
START = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def slope(p: Tensor) -> Tensor:
    """The gradient of a quadratic with its minimum at zero."""
    return CURVATURE * p


def trained(
    cls: type[torch.optim.Optimizer],
    gradient: Callable[[Tensor], Tensor] = slope,
    lrs: tuple[float, ...] = (0.1,) * STEPS,
    **arguments: object,
) -> list[Tensor]:
    """Where an optimizer is after each step on the quadratic."""
    p = nn.Parameter(START.clone())
    optimizer = cls([p], lr=lrs[0], **arguments)
    path = []
    for lr in lrs:
        optimizer.param_groups[0]["lr"] = lr
        p.grad = gradient(p.detach())
        optimizer.step()
        path.append(p.detach().clone())
    return path


def same(path: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-12, atol=0) for a, b in zip(path, other, strict=True))


def test_every_line_of_the_page_names_a_test_of_this_file() -> None:
    """The page names each test here, and no other."""
    named = set(re.findall(r"`(test_\w+)`", ERRATA.read_text(encoding="utf-8")))
    here = {name for name in globals() if name.startswith("test_")}
    assert named == here - {"test_every_line_of_the_page_names_a_test_of_this_file"}


# -- the first guide ------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "right"), [("gamma", False), ("lr", True)])
def test_momentum_steps_by_lr_not_by_gamma(step: str, right: bool) -> None:
    """After v = gamma v + g the step is lr v, not gamma v."""
    lr, gamma = 0.1, 0.9
    p, v, path = START, torch.zeros_like(START), []
    for _ in range(STEPS):
        v = gamma * v + slope(p)
        p = p - {"gamma": gamma, "lr": lr}[step] * v
        path.append(p)
    assert same(path, trained(optim.SGD, momentum=gamma)) is right


def test_nesterov_at_the_shifted_point_is_torchs_in_other_variables() -> None:
    """The parameter in torch is the textbook's shifted point, theta - lr gamma v."""
    lr, gamma = 0.1, 0.9
    theta, v, shifted = START, torch.zeros_like(START), []
    for _ in range(STEPS):
        v = gamma * v + slope(theta - lr * gamma * v)
        theta = theta - lr * v
        shifted.append(theta - lr * gamma * v)
    assert same(shifted, trained(optim.SGD, momentum=gamma, nesterov=True))


def test_momentum_is_a_sum_so_it_lengthens_the_step() -> None:
    """Under a constant gradient the step grows to lr / (1 - momentum), ten times lr at 0.9."""
    path = trained(optim.SGD, torch.ones_like, (0.1,) * 300, momentum=0.9)
    torch.testing.assert_close(path[-2] - path[-1], torch.full_like(START, 0.1 / (1 - 0.9)))


def test_the_range_tests_multiplier_never_reaches_the_last_rate() -> None:
    """N rates from lowest to highest have N - 1 factors between them, not N."""
    lowest, highest, count = 1e-7, 10.0, 1000
    rates = [lowest * ((highest / lowest) ** (1 / count)) ** k for k in range(count)]
    assert rates[-1] < 0.99 * highest


def test_patience_5_lets_5_epochs_pass_and_acts_in_the_6th() -> None:
    """With patience=5 the rate falls after the sixth epoch without improvement."""
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=5)
    rates = []
    for _ in range(8):  # the first epoch is the best one
        scheduler.step(1.0)
        rates.append(optimizer.param_groups[0]["lr"])
    assert [lr < 0.1 for lr in rates].index(True) == 6


def test_torch_has_no_verbose_any_more_and_we_do() -> None:
    """ReduceLROnPlateau(verbose=True) raises in torch; ours takes it and prints the changes."""
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(TypeError, match="verbose"):
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, verbose=True)
    assert lr_scheduler.ReduceLROnPlateau(optimizer, verbose=True).verbose


def test_cosine_annealing_climbs_again_and_a_schedule_does_not() -> None:
    """CosineAnnealingLR returns to its peak at 2 T_max; ``cosine`` stays at its end."""
    from downslope.schedules import cosine

    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)
    for _ in range(10):
        optimizer.param_groups[0]["params"][0].grad = torch.zeros(1)
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    assert cosine(5, start=0.1)(10) == 0.0


# -- the second guide -----------------------------------------------------------------------------


def test_sequential_lr_needs_the_optimizer_and_the_milestones() -> None:
    """The guide's call raises, here with what is missing."""
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    parts = [
        lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=5),
        lr_scheduler.CosineAnnealingLR(optimizer, T_max=195),
    ]
    with pytest.raises(TypeError, match="milestones"):
        lr_scheduler.SequentialLR(parts)
    lr_scheduler.SequentialLR(optimizer, parts, milestones=[5])


def test_torch_cuda_amp_is_deprecated() -> None:
    """torch.cuda.amp warns; torch.amp, with the device's name, is its successor."""
    with pytest.warns(FutureWarning, match=r"torch\.amp\.GradScaler"):
        torch.cuda.amp.GradScaler(enabled=False)


@pytest.mark.parametrize("unscale_first", [True, False])
def test_clipping_scaled_gradients_shrinks_the_step_by_the_scale(unscale_first: bool) -> None:
    """Clipped before unscale_, a gradient of norm 2 reaches the step with norm 1 / scale."""
    p = nn.Parameter(torch.tensor([2.0]))
    optimizer = optim.SGD([p], lr=1.0)
    scaler = GradScaler("cpu", init_scale=1024.0)
    scaler.scale((p**2 / 2).sum()).backward()
    if unscale_first:
        scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_([p], 1.0)
    scaler.step(optimizer)
    moved = 2.0 - p.item()
    assert moved == pytest.approx(1.0 if unscale_first else 1 / 1024, rel=1e-3)


def test_the_gradient_hooks_all_print_the_last_name() -> None:
    """A lambda in a loop sees the loop variable's last value, so every hook says the same name."""
    model, said = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), []
    for name, param in model.named_parameters():
        param.register_hook(lambda grad: said.append(name))  # noqa: B023  # the guide's mistake
    model(torch.ones(1, 2)).sum().backward()
    assert set(said) == {"1.bias"}


def test_best_stays_best_only_if_it_is_remembered(tmp_path: Path) -> None:
    """Without ``best_acc = val_acc`` the guide's loop keeps the worse 0.8; a run here keeps 0.9."""
    accuracies = (0.9, 0.8)
    best_acc, saved = 0.0, 0.0
    for val_acc in accuracies:
        if val_acc > best_acc:
            saved = val_acc
    given = iter(accuracies)
    data = TensorDataset(torch.randn(4, 2), torch.randn(4, 1))
    task = Task(
        name="two epochs",
        model=lambda: nn.Linear(2, 1),
        loss=nn.functional.mse_loss,
        train=data,
        validation=data,
        metric=Metric("accuracy", lambda outputs, targets: next(given), higher_is_better=True),
        batch_size=4,
        epochs=2,
        kind="regression",
    )
    run = fit(task, Recipe(lr=0.1), tmp_path / "run")
    assert (saved, run.best_metric, run.best_step) == (0.8, 0.9, 1)


def test_a_checkpoint_without_the_optimizer_does_not_resume() -> None:
    """AdamW started anew from saved weights takes another path than the run that went on."""
    whole = trained(optim.AdamW)
    p = nn.Parameter(whole[2].clone())
    optimizer = optim.AdamW([p], lr=0.1)
    p.grad = slope(p.detach())
    optimizer.step()
    assert not torch.allclose(p, whole[3])


def test_adamws_decay_is_not_an_l2_penalty() -> None:
    """A penalty's gradient is divided by the root mean square too; AdamW's decay is not."""
    penalised = trained(optim.Adam, weight_decay=0.1)
    assert not same(penalised, trained(optim.AdamW, weight_decay=0.1))


# -- the third guide ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["RMSprop", "Adagrad"])
def test_eps_is_added_to_the_root(name: str) -> None:
    """Both torch and we divide by sqrt(v) + eps; inside the root eps weighs as its own root."""
    beta, eps, lr = 0.99, 0.01, 0.1
    right, guides = [], []
    for inside, path in ((False, right), (True, guides)):
        p, v = START, torch.zeros_like(START)
        for _ in range(STEPS):
            g = slope(p)
            v = v + g**2 if name == "Adagrad" else beta * v + (1 - beta) * g**2
            p = p - lr * g / (torch.sqrt(v + eps) if inside else torch.sqrt(v) + eps)
            path.append(p)
    for module in (optim, torch.optim):
        assert same(right, trained(getattr(module, name), eps=eps))
    assert not same(guides, right)


def _adam(*, raw: bool = False, overwrite: bool = False, correct: bool = True) -> list[Tensor]:
    """Adam, and what the guides make of it."""
    beta1, beta2, eps, lr = 0.9, 0.999, 1e-8, 0.1
    p, m, v, path = START, torch.zeros_like(START), torch.zeros_like(START), []
    for t in range(1, STEPS + 1):
        g = slope(p)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t) if correct else m
        v_hat = v / (1 - beta2**t) if correct else v
        p = p - lr * (g if raw else m_hat) / (torch.sqrt(v_hat) + eps)
        if overwrite:
            m, v = m_hat, v_hat
        path.append(p)
    return path


def test_adam_divides_the_running_mean_not_the_raw_gradient() -> None:
    """With g in place of the corrected m, Adam has no momentum."""
    assert same(_adam(), trained(optim.Adam))
    assert not same(_adam(raw=True), trained(optim.Adam))


def test_adams_corrected_moments_are_not_what_it_remembers() -> None:
    """Written back over m and v, the corrections would be applied again and again."""
    assert not same(_adam(overwrite=True), trained(optim.Adam))


def test_the_adagrad_example_is_a_syntax_error() -> None:
    """An argument cannot be given twice."""
    with pytest.raises(SyntaxError, match="repeated"):
        compile("optim.Adagrad(model.parameters(), lr=0.01, lr=1e-3, eps=1e-8)", "guide", "eval")


@pytest.mark.parametrize(
    ("lrs", "equal"), [((0.1,) * STEPS, True), ((0.1,) * 3 + (0.01,) * 3, False)]
)
def test_heavy_ball_is_torchs_momentum_only_at_a_constant_rate(
    lrs: tuple[float, ...], equal: bool
) -> None:
    """With p - lr g + beta (p - before) the old rate stays in memory; torch's buffer forgets it."""
    p, before, path = START, START, []
    for lr in lrs:
        p, before = p - lr * slope(p) + 0.9 * (p - before), p
        path.append(p)
    assert same(path, trained(optim.SGD, lrs=lrs, momentum=0.9)) is equal


# -- the last guide -------------------------------------------------------------------------------


def test_losses_average_so_gradients_do_not_grow_with_the_batch() -> None:
    """A summed loss has a gradient that is the batch's size times as long."""
    x, y = torch.randn(32, 4), torch.randn(32, 1)
    layer = nn.Linear(4, 1)
    gradients = []
    for reduction in ("mean", "sum"):
        layer.zero_grad()
        nn.MSELoss(reduction=reduction)(layer(x), y).backward()
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(32 * gradients[0], gradients[1])


def test_averaging_momentum_is_dampening_but_for_the_first_gradient() -> None:
    """Started from the first gradient whole, m = beta m + (1 - beta) g is dampening=beta."""
    lr, beta = 0.1, 0.9
    paths = {}
    for start in ("zero", "first gradient"):
        p, m, path = START, None, []
        for _ in range(STEPS):
            g = slope(p)
            if m is None:
                m = g if start == "first gradient" else (1 - beta) * g
            else:
                m = beta * m + (1 - beta) * g
            p = p - lr * m
            path.append(p)
        paths[start] = path
    ours = trained(optim.SGD, momentum=beta, dampening=beta)
    assert same(paths["first gradient"], ours)
    assert not same(paths["zero"], ours)


def test_adagred_is_normalized_sgd_and_not_adagrad() -> None:
    """The step g / (sqrt(g**2) + eps) remembers nothing; Adagrad sums, so its steps shrink."""
    lr, eps = 0.1, 1e-8
    p, path = START, []
    for _ in range(STEPS):
        g = slope(p)
        p = p - lr * g / (torch.sqrt(g**2) + eps)
        path.append(p)
    assert same(path, trained(optim.NormalizedSGD, eps=eps))
    assert not same(path, trained(optim.Adagrad, eps=eps))


def test_adamw_corrects_the_start_of_both_means() -> None:
    """AdamW without decay is Adam with both corrections; without them it goes elsewhere."""
    assert same(_adam(), trained(optim.AdamW, weight_decay=0.0))
    assert not same(_adam(correct=False), trained(optim.AdamW, weight_decay=0.0))


def test_weight_decay_is_the_factor_of_theta_itself() -> None:
    """The penalty lamda * theta**2 pulls twice as hard as weight_decay=lamda."""
    lamda = 0.05
    p = START.clone().requires_grad_()
    (lamda * (p**2).sum()).backward()

    def penalised(q: Tensor) -> Tensor:
        return slope(q) + p.grad / START * q

    assert same(trained(optim.SGD, penalised), trained(optim.SGD, weight_decay=2 * lamda))
