"""Recipes: what is refused, how they are resolved, and TOML in and out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from downslope import Recipe
from downslope.errors import InputError, InputTypeError

from .tiny import BATCH, tiny

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"optimizer": "adamww"}, ["Unknown optimizer 'adamww'", "'adamw'"]),
        ({"optimizer": 3}, ["optimizer", "string", "3"]),
        ({"optmizer": "adam"}, ["Unknown recipe key 'optmizer'", "'optimizer'"]),
        ({"learning_rate": 0.1}, ["Unknown recipe key 'learning_rate'", "Did you mean 'lr'?"]),
        (
            {"momentum": 0.9, "optimizer": "SGD"},
            ["'momentum'", "argument of SGD", "[hyperparameters]"],
        ),
        ({"lr": NAN}, ["lr", "finite", "nan"]),
        ({"lr": INF}, ["lr", "finite", "inf"]),
        ({"lr": -0.1}, ["lr", "greater than 0", "-0.1"]),
        ({"lr": 0}, ["lr", "greater than 0", "0"]),
        ({"lr": "0.1"}, ["lr", "number", "the text '0.1'"]),
        ({"lr": True}, ["lr", "number", "True"]),
        ({"weight_decay": -1.0}, ["weight_decay", "greater than or equal to 0", "-1.0"]),
        ({"hyperparameters": {"beta": 0.9}}, ["hyperparameter of AdamW 'beta'", "'betas'"]),
        ({"hyperparameters": {"lr": 0.1}}, ["lr stands beside hyperparameters"]),
        ({"hyperparameters": {"params": []}}, ["Unknown hyperparameter", "'params'"]),
        ({"hyperparameters": {"betas": [0.9]}}, ["betas", "2 numbers"]),
        ({"hyperparameters": {"betas": [0.9, 1.5]}}, ["beta2", "1.5"]),
        ({"hyperparameters": {"eps": -1}}, ["eps", "-1"]),
        ({"hyperparameters": {"eps": "x"}}, ["eps", "'x'"]),
        ({"hyperparameters": {"eps": NAN}}, ["eps", "nan"]),
        ({"hyperparameters": [1]}, ["hyperparameters", "dictionary", "[1]"]),
        ({"optimizer": "sgd", "hyperparameters": {"nesterov": True}}, ["Nesterov", "momentum"]),
        ({"optimizer": "sgd", "hyperparameters": {"betas": [0.9, 0.9]}}, ["of SGD 'betas'"]),
        ({"optimizer": "sparseadam"}, ["SparseAdam needs sparse gradients"]),
        ({"schedule": "cosin"}, ["schedule", "'cosine'", "'cosin'"]),
        ({"warmup": 1.0}, ["warmup", "less than 1", "1.0"]),
        ({"warmup": NAN}, ["warmup", "nan"]),
        ({"clip_norm": 0.0}, ["clip_norm", "greater than 0"]),
        ({"clip_norm": -1.0}, ["clip_norm", "greater than 0"]),
        ({"precision": "fp8"}, ["precision", "'bf16'", "'fp8'"]),
        ({"batch_size": 0}, ["batch_size", "greater than or equal to 1", "0"]),
        ({"epochs": 0}, ["epochs", "greater than or equal to 1", "0"]),
        ({"epochs": 1.5}, ["epochs", "integer", "1.5"]),
        ({"epochs": "3"}, ["epochs", "integer", "'3'"]),
        ({"epochs": True}, ["epochs", "integer", "True"]),
        ({"early_stop": 0}, ["early_stop", "greater than or equal to 1"]),
        ({"checkpoint_every": 0}, ["checkpoint_every", "greater than or equal to 1"]),
        ({"seed": -1}, ["seed", "greater than or equal to 0"]),
        ({"seed": 2**32}, ["seed", "less than 4294967296"]),
        ({"epochs": 0, "lr": -1.0}, ["epochs", "lr"]),
    ],
    ids=str,
)
def test_bad_values_are_refused(values: dict[str, Any], parts: list[str]) -> None:
    """One line says which field, what came and what is allowed."""
    with pytest.raises(InputError) as caught:
        Recipe(**values)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    """Before anything is written."""
    with pytest.raises(InputError, match=f"device = '{device}' cannot be used here"):
        Recipe(device=device).resolve(tiny())


def test_weight_decay_needs_an_optimizer_that_has_it() -> None:
    """It is not ignored in silence."""
    assert Recipe(optimizer="rprop").resolve(tiny()).weight_decay is None
    with pytest.raises(InputError, match="Rprop has no weight decay"):
        Recipe(optimizer="rprop", weight_decay=0.1)


def test_a_recipe_cannot_be_changed() -> None:
    """A changed copy is made, and checked."""
    recipe = Recipe()
    with pytest.raises(ValueError, match="frozen"):
        recipe.lr = 1.0  # type: ignore[misc]  # the claim
    with pytest.raises(InputError, match="lr must be"):
        recipe.replace(lr=-1.0)
    assert recipe.replace(lr=1.0).lr == 1.0


def test_resolving_fills_in_the_task_s_and_the_optimizer_s_defaults() -> None:
    """Nothing but the learning rate is left open."""
    recipe = Recipe().resolve(tiny())
    assert (recipe.batch_size, recipe.epochs, recipe.weight_decay) == (BATCH, 3, 0.01)
    assert (recipe.lr, recipe.warmup, recipe.precision != "auto") == (None, 0.05, True)
    assert recipe.device in ("cpu", "cuda")


def test_resolving_keeps_what_was_given() -> None:
    """The task's defaults are for what is left out."""
    given_values = {"batch_size": 3, "epochs": 9, "weight_decay": 0.5, "warmup": 0.25}
    recipe = Recipe(device="cpu", precision="bf16", **given_values).resolve(tiny())
    assert {k: getattr(recipe, k) for k in given_values} == given_values
    assert (recipe.device, recipe.precision) == ("cpu", "bf16")


def test_schedules_without_warmup_in_their_name_have_none() -> None:
    """Unless it is asked for."""
    assert Recipe(schedule="linear").resolve(tiny()).warmup == 0.0
    assert Recipe(schedule="linear", warmup=0.1).resolve(tiny()).warmup == 0.1


def test_the_optimizer_gets_all_its_arguments() -> None:
    """Learning rate, weight decay, and the rest by name."""
    recipe = Recipe(lr=0.5, weight_decay=0.25, hyperparameters={"betas": [0.5, 0.75], "eps": 1e-3})
    group = recipe.build_optimizer([torch.zeros(1, requires_grad=True)]).param_groups[0]
    arguments = {k: group[k] for k in ("lr", "weight_decay", "betas", "eps")}
    assert arguments == {"lr": 0.5, "weight_decay": 0.25, "betas": (0.5, 0.75), "eps": 1e-3}


@pytest.mark.parametrize(("given", "kept"), [(0.5, 0.5), (None, math.inf)])
def test_the_optimizer_clips(given: float | None, kept: float) -> None:
    """The step has the recipe's threshold; without one it measures, and it refuses NaN."""
    optimizer = Recipe(lr=0.5, clip_norm=given).build_optimizer(
        [torch.zeros(1, requires_grad=True)]
    )
    assert optimizer.param_groups[0]["clip_norm"] == kept
    assert optimizer.on_nonfinite == "raise"


def test_a_name_is_no_task() -> None:
    """What every command begins with, from Python: the error says how the name becomes a task."""
    with pytest.raises(InputTypeError, match=r"got str 'digits'.*downslope.load_task\('digits'\)"):
        Recipe().resolve("digits")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clip_norm", "clip_norm stands beside hyperparameters.* --clip-norm on"),
        ("on_nonfinite", "Unknown hyperparameter of AdamW 'on_nonfinite'"),
    ],
)
def test_what_the_run_decides_is_no_hyperparameter(name: str, message: str) -> None:
    """A recipe says once by what gradients are clipped."""
    with pytest.raises(InputError, match=message):
        Recipe(hyperparameters={name: 1.0})


def test_every_field_is_described() -> None:
    """The command line's help is made of it."""
    assert all(field.description for field in Recipe.model_fields.values())


finite = st.floats(1e-12, 1e12)
recipes = st.builds(
    Recipe,
    lr=st.none() | finite,
    weight_decay=st.none() | finite,
    hyperparameters=st.fixed_dictionaries(
        {}, optional={"betas": st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)), "eps": finite}
    ),
    schedule=st.sampled_from(["warmup-cosine", "step", "plateau"]),
    warmup=st.none() | st.floats(0, 0.99),
    clip_norm=st.none() | finite,
    precision=st.sampled_from(["auto", "fp16"]),
    batch_size=st.none() | st.integers(1, 10_000),
    early_stop=st.none() | st.integers(1, 100),
    seed=st.integers(0, 2**32 - 1),
)


@given(recipes)
def test_toml_gives_back_the_same_recipe(
    tmp_path_factory: pytest.TempPathFactory, recipe: Recipe
) -> None:
    """Every value, to the last bit, also where it is None."""
    file = tmp_path_factory.getbasetemp() / "recipe.toml"
    file.write_text(recipe.to_toml())
    assert Recipe.from_toml(file) == recipe


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lr = ", "not valid TOML"),
        ("lr: 0.1", "not valid TOML"),
        ("learning_rate = 0.1", "Unknown recipe key 'learning_rate'"),
        ("lr = nan", "lr must be a finite number"),
        ('epochs = "ten"', "epochs must be a valid integer"),
        ("[hyperparameters]\nbeta = 0.9", "Unknown hyperparameter of AdamW 'beta'"),
        (b"\xff\xfe\x00", "not valid TOML"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    """One line says what is wrong with the file."""
    file = tmp_path / "recipe.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        Recipe.from_toml(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """With its name and the reason; a folder too."""
    with pytest.raises(InputError, match=r"none.toml' cannot be read: No such file"):
        Recipe.from_toml(tmp_path / "none.toml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Recipe.from_toml(tmp_path)
