"""The result of a range test: a record that can be saved, read back and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ._suggest import Confidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RangeTest"]


@dataclass(frozen=True)
class RangeTest:
    """What a learning-rate range test saw, and what follows from it.

    Args:
        optimizer: the optimizer's class, in lower case.
        lrs: the learning rate of each iteration.
        losses: the training loss of each iteration, before its step; all finite.
        smoothed: their bias-corrected exponential moving average.
        diverged_at: the learning rate at which the loss blew up or became NaN; None if it did not.
        steepest: where the smoothed loss falls fastest, per decade of the learning rate.
        band: 1/10 to 1/2 of ``steepest``, the range that tutorials recommend.
        suggestion: the learning rate to train with; None where there is no clear answer.
        reason: why there is no suggestion, or why it may be better not to trust it; else ``""``.
        confidence: ``"high"``: the loss fell by a tenth, a higher rate was tried and was worse, the
            run is at most ten times as long as a race, and at least 64 targets were held out;
            ``"medium"``: one of the last three does not hold; ``"low"``: it hardly fell;
            ``"none"``: no clear answer. On problems that nothing was fitted on 98%, 96%, 81% and
            10% of the suggestions trained to within 1.5 times the best loss, and 0%, 2%, 0% and 60%
            were worse than 3 times (``benchmarks/results/range_test``; with none, the fallback); on
            ones drawn afterwards 95%, 85%, 87% and 75%, and 2%, 7%, 5% and 7%.
        usual: where a step has the length, beside the weights', that was best on the problems
            measured. None without a finite loss or a gradient.
        fallback: what is left where there is no suggestion: the usual rate; where rows were learnt
            by heart, moved for the length of the run. None where there is a suggestion, or no usual
            rate.
        races: learning rate and held-out loss of each race that did not diverge, two rows with
            another row's targets counted in.
        race_steps: steps of a race that did not diverge.
        cost: training iterations that it took, evaluation counted.
    """

    optimizer: str
    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    diverged_at: float | None
    steepest: float | None
    band: tuple[float, float] | None
    suggestion: float | None
    reason: str
    confidence: Confidence = "none"
    usual: float | None = None
    fallback: float | None = None
    races: tuple[tuple[float, float], ...] = ()
    race_steps: int = 0
    cost: float = 0.0

    def __repr__(self) -> str:
        parts = (f"{field.name}={_brief(getattr(self, field.name))}" for field in fields(self))
        return f"RangeTest({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, ready for JSON."""
        return {k: _listed(v) for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RangeTest:
        """The record that :meth:`to_dict` wrote.

        Raises:
            InputError: a key is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not needed <= set(values) <= names:  # those with a default came with a later version
            raise InputError(
                f"not a saved range test: it has the keys {sorted(values)}, "
                f"expected {sorted(names)}"
            )
        return cls(**{k: _fixed(v) for k, v in values.items()})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curve, the band and the suggestion.

        Args:
            ax: where to draw; None makes a new figure.

        Returns:
            the axes, with a logarithmic x axis.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        ax.plot(self.lrs, self.losses, color="tab:blue", alpha=0.3, linewidth=1, label="loss")
        ax.plot(self.lrs, self.smoothed, color="tab:blue", label="smoothed")
        if self.band is not None:
            low, high = self.band
            ax.axvspan(
                low, high, color="tab:green", alpha=0.15, label=f"band {low:.1e} to {high:.1e}"
            )
        if self.steepest is not None:
            height = self.smoothed[self.lrs.index(self.steepest)]
            ax.plot(
                self.steepest, height, "o", color="tab:blue", label=f"steepest {self.steepest:.1e}"
            )
        if self.races:
            ax.plot(*zip(*self.races, strict=True), "s", color="tab:red", label="races, held out")
        if self.suggestion is not None:
            text = f"suggestion {self.suggestion:.1e}"
            ax.axvline(self.suggestion, color="tab:orange", linestyle="--", label=text)
        ax.set(xscale="log", xlabel="learning rate", ylabel="training loss")
        ax.set_title(self.reason, fontsize="small", wrap=True)
        ax.legend()
        return ax


def _brief(value: Any) -> str:
    """A value as it is printed: numbers to four digits, of a curve how long it is."""
    if isinstance(value, tuple) and not (len(value) == 2 and isinstance(value[0], float)):
        return f"<{len(value)} values>"
    if isinstance(value, tuple):
        return f"({', '.join(map(_brief, value))})"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, (tuple, list)) else value


def _fixed(value: Any) -> Any:
    return tuple(_fixed(part) for part in value) if isinstance(value, (tuple, list)) else value
