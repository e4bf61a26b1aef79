"""Damages to the formulas, made by hand: what ``dev/mutate.py`` does to a copy of the package."""

from __future__ import annotations

import ast
from dataclasses import dataclass

__all__ = ["DAMAGES", "Damage"]


@dataclass(frozen=True)
class Damage:
    """One edit: ``before``, found exactly once in a function, becomes ``after``.

    Args:
        file: of the package.
        function: where in the file; empty: anywhere.
        classes: the optimizers whose tests should notice.
        what: a few words.
        before, after: the texts.
    """

    file: str
    function: str
    classes: tuple[str, ...]
    what: str
    before: str
    after: str

    def edit(self, source: str) -> str:
        """The file's source with the damage.

        Raises:
            LookupError: the text is not there exactly once; the list must then be mended.
        """
        lines = source.splitlines(keepends=True)
        first, last = self._place(source, len(lines))
        text = "".join(lines[first:last])
        if text.count(self.before) != 1:
            raise LookupError(
                f"{self.file} {self.function} has {self.before!r} {text.count(self.before)} times, "
                f"wanted once: mend the damage {self.what!r} in dev/damages.py"
            )
        return "".join([*lines[:first], text.replace(self.before, self.after), *lines[last:]])

    def _place(self, text: str, end: int) -> tuple[int, int]:
        """The function's lines."""
        if not self.function:
            return 0, end
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name == self.function:
                return node.lineno - 1, node.end_lineno or end
        raise LookupError(f"{self.file} has no function {self.function}: mend dev/damages.py")


def _all(file: str, function: str, classes: str, *edits: tuple[str, str, str]) -> list[Damage]:
    return [Damage(file, function, tuple(classes.split()), *edit) for edit in edits]


_NO_CAUTION = ("caution ignored", "if cautious", "if False")
_NO_DECOUPLED_DECAY = ("decay ignored", "p = p * (1 - lr * weight_decay)", "pass")
_NO_FIRST_CORRECTION = ("first correction dropped", " / (1 - beta1**step)", "")
_NO_DECAY = ("weight decay ignored", "g = xp.fma(weight_decay, p, g)", "pass")

DAMAGES: tuple[Damage, ...] = (
    *_all(
        "rules/sgd.py", "sgd", "SGD",
        ("step uphill", "xp.fma(-lr, update, p)", "xp.fma(lr, update, p)"),
        ("dampening ignored", "1 - dampening", "1.0"),
        ("first gradient damped too", "xp.where(fresh, 1.0, 1 - dampening)", "1 - dampening"),
        ("dampening with the wrong sign", "1 - dampening", "1 + dampening"),
        ("old momentum kept whole", "momentum * momentum_buffer)", "momentum_buffer)"),
        ("Nesterov ignored", "if nesterov", "if False"),
        _NO_CAUTION,
        ("Nesterov's terms exchanged", "(momentum, momentum_buffer, g)",
         "(momentum, g, momentum_buffer)"),
        _NO_DECAY,
        ("weight decay with the wrong sign", "xp.fma(weight_decay", "xp.fma(-weight_decay"),
    ),
    *_all(
        "rules/sgd.py", "normalized_sgd", "NormalizedSGD",
        ("step uphill", "p - lr", "p + lr"),
        ("eps ignored", "(xp.abs(g) + eps)", "xp.abs(g)"),
        ("absolute value forgotten", "xp.abs(g) + eps", "g + eps"),
        _NO_DECAY,
    ),
    *_all(
        "rules/rmsprop.py", "rmsprop", "RMSprop",
        ("step uphill", "return p - lr", "return p + lr"),
        ("step uphill with momentum", "xp.fma(-lr,", "xp.fma(lr,"),
        ("eps inside the root", "xp.sqrt(variance) + eps", "xp.sqrt(variance + eps)"),
        ("new square not weighted", "xp.fma((1 - alpha) * g, g,", "xp.fma(g, g,"),
        ("mean added, not taken off", "xp.fma(-grad_avg, grad_avg,", "xp.fma(grad_avg, grad_avg,"),
        ("alpha for 1 - alpha in the mean", "(grad_avg, g, 1 - alpha)", "(grad_avg, g, alpha)"),
        ("old step kept whole", "momentum * momentum_buffer", "momentum_buffer"),
        _NO_CAUTION,
        _NO_DECAY,
    ),
    *_all(
        "rules/adagrad.py", "adagrad", "Adagrad",
        ("step uphill", "return p - lr", "return p + lr"),
        ("eps inside the root", "(xp.sqrt(sum) + eps)", "xp.sqrt(sum + eps)"),
        ("lr decays from the first step", "(step - 1) * lr_decay", "step * lr_decay"),
        ("lr_decay ignored", " / (1 + (step - 1) * lr_decay)", ""),
        ("only the last square kept", "xp.fma(g, g, sum)", "g * g"),
        _NO_DECAY,
    ),
    *_all(
        "rules/adagrad.py", "", "Adagrad",
        ("initial accumulator ignored", 'init="initial_accumulator_value",', ""),
    ),
    *_all(
        "rules/adam.py", "adam", "Adam AdamW",
        ("step uphill", "p = p - lr / (1", "p = p + lr / (1"),
        ("first correction a step early", "beta1**step", "beta1 ** (step + 1)"),
        ("first correction dropped", " / (1 - beta1**step)", ""),
        ("second correction a step early", "beta2**step", "beta2 ** (step + 1)"),
        ("second correction without root", "xp.sqrt(1 - beta2**step)", "(1 - beta2**step)"),
        ("eps inside the root", "xp.sqrt(variance) / xp.sqrt(1 - beta2**step) + eps",
         "xp.sqrt(variance / (1 - beta2**step) + eps)"),
        ("eps before the correction", "xp.sqrt(variance) / xp.sqrt(1 - beta2**step) + eps",
         "(xp.sqrt(variance) + eps) / xp.sqrt(1 - beta2**step)"),
        ("decay not multiplied by lr", "1 - lr * weight_decay", "1 - weight_decay"),
        ("betas exchanged in the mean", "(exp_avg, g, 1 - beta1)", "(exp_avg, g, 1 - beta2)"),
        ("beta for 1 - beta in the mean", "(exp_avg, g, 1 - beta1)", "(exp_avg, g, beta1)"),
        ("new square not weighted", "xp.fma((1 - beta2) * g, g,", "xp.fma(g, g,"),
        ("amsgrad's maximum not used", "variance = max_exp_avg_sq = xp", "max_exp_avg_sq = xp"),
        ("amsgrad takes the minimum", "xp.maximum", "xp.minimum"),
        _NO_CAUTION,
    ),
    *_all(
        "rules/adam.py", "adam", "AdamW",
        ("decay coupled", "if decoupled:", "if False:"),
    ),
    *_all(
        "rules/adam.py", "adam", "Adam",
        ("decay decoupled", "if decoupled:", "if True:"),
        _NO_DECAY,
    ),
    *_all(
        "rules/adam.py", "adamax", "Adamax",
        ("step uphill", "return p - lr", "return p + lr"),
        ("correction a step early", "beta1**step", "beta1 ** (step + 1)"),
        ("old maximum kept whole", "beta2 * exp_inf", "exp_inf"),
        ("eps ignored", "xp.abs(g) + eps", "xp.abs(g)"),
        ("absolute value forgotten", "xp.abs(g)", "g"),
        _NO_CAUTION,
    ),
    *_all(
        "rules/adam.py", "nadam", "NAdamW",
        ("decay always coupled", "if decoupled", "if False"),
    ),
    *_all(
        "rules/adam.py", "nadam", "NAdam",
        ("step uphill", "- by_mean * exp_avg", "+ by_mean * exp_avg"),
        ("next momentum a step early", "(step + 1)", "step"),
        _NO_CAUTION,
        ("product of momenta not kept", "xp.f32(mu_product * xp.f32(mu))", "xp.f32(mu)"),
        ("second correction a step early", "beta2**step", "beta2 ** (step + 1)"),
        ("eps inside the root", "xp.sqrt(exp_avg_sq / (1 - beta2**step)) + eps",
         "xp.sqrt(exp_avg_sq / (1 - beta2**step) + eps)"),
        ("decay always coupled", "if decoupled:", "if False:"),
    ),
    *_all(
        "rules/adam.py", "radam", "RAdam",
        ("step uphill", "p - xp.where", "p + xp.where"),
        ("never rectified", "rho > 5", "rho > 1e9"),
        _NO_CAUTION,
        ("rectified too early", "rho > 5", "rho > 4"),
        ("rectification's terms exchanged", "(rho - 4) * (rho - 2) * rho_inf",
         "(rho - 4) * (rho - 2) * rho"),
        ("correction a step early", "beta1**step", "beta1 ** (step + 1)"),
        ("decay always coupled", "if decoupled:", "if False:"),
    ),
    *_all(
        "rules/adadelta.py", "adadelta", "Adadelta",
        ("step uphill", "xp.fma(-lr,", "xp.fma(lr,"),
        ("eps outside the roots", "xp.sqrt(acc_delta + eps)", "(xp.sqrt(acc_delta) + eps)"),
        ("steps remembered before they are taken", "xp.fma((1 - rho) * delta, delta,",
         "xp.fma((1 - rho) * g, g,"),
        _NO_DECAY,
    ),
    *_all(
        "rules/rprop.py", "rprop", "Rprop",
        ("step uphill", "p - xp.sign", "p + xp.sign"),
        ("factors exchanged", "agree > 0, etaplus", "agree > 0, etaminus"),
        ("gradient kept where the sign turned", "xp.where(agree < 0, 0 * g, g)", "g"),
        ("step not bounded from below", "xp.maximum(step_size, step_size_min)", "step_size"),
        ("first step not lr", "xp.where(fresh, lr + 0 * step_size, step_size)", "step_size"),
    ),
    *_all(
        "rules/asgd.py", "asgd", "ASGD",
        ("step uphill", "xp.fma(-eta,", "xp.fma(eta,"),
        ("weights not decayed", "p * (1 - lambd * eta)", "p"),
        ("averaging a step early", "step - t0", "step + 1 - t0"),
        ("average takes all", "(p - ax) * mu", "(p - ax)"),
        ("power ignored", ") ** alpha", ")"),
        _NO_DECAY,
    ),
    *_all(
        "rules/sign.py", "lion", "Lion",
        ("step uphill", "xp.fma(-lr,", "xp.fma(lr,"),
        ("betas exchanged in the direction", "sign(xp.lerp(exp_avg, g, 1 - beta1))",
         "sign(xp.lerp(exp_avg, g, 1 - beta2))"),
        ("betas exchanged in the momentum", ", p), xp.lerp(exp_avg, g, 1 - beta2)",
         ", p), xp.lerp(exp_avg, g, 1 - beta1)"),
        ("decay not multiplied by lr", "1 - lr * weight_decay", "1 - weight_decay"),
        _NO_CAUTION,
    ),
    *_all(
        "rules/sign.py", "signum", "Signum",
        ("step uphill", "xp.fma(-lr,", "xp.fma(lr,"),
        ("momentum for 1 - momentum", "g, 1 - momentum", "g, momentum"),
        ("decay not multiplied by lr", "1 - lr * weight_decay", "1 - weight_decay"),
        _NO_CAUTION,
    ),
    *_all(
        "rules/adabelief.py", "adabelief", "AdaBelief",
        ("deviation from nothing", "surprise = g - exp_avg", "surprise = g"),
        ("eps not kept in the variance", "beta2 * exp_avg_var) + eps", "beta2 * exp_avg_var)"),
        ("second correction dropped", " / xp.sqrt(1 - beta2**step)", ""),
        ("eps left out of the denominator", "(1 - beta2**step) + eps)", "(1 - beta2**step))"),
        _NO_FIRST_CORRECTION,
        _NO_DECOUPLED_DECAY,
        _NO_CAUTION,
    ),
    *_all(
        "rules/laprop.py", "laprop", "LaProp",
        ("the gradient not divided", "(exp_avg, normed, 1 - beta1)", "(exp_avg, g, 1 - beta1)"),
        ("first correction dropped", " / (1 - beta1**step)", ""),
        ("square not corrected", " / xp.sqrt(1 - beta2**step)", ""),
        ("eps ignored", " + eps)", ")"),
        _NO_DECOUPLED_DECAY,
        _NO_CAUTION,
    ),
    *_all(
        "rules/adopt.py", "adopt", "ADOPT",
        ("its own square in the denominator", "xp.maximum(xp.sqrt(exp_avg_sq), eps)",
         "xp.maximum(xp.sqrt(g * g), eps)"),
        ("bound a step early", "(step - 1) ** 0.25", "step**0.25"),
        ("bound's power", "** 0.25", "** 0.5"),
        ("the first square weighted", "kept = later * beta2", "kept = beta2"),
        ("the first step decays", "later * lr * weight_decay", "lr * weight_decay"),
        ("decay always coupled", "if decoupled", "if False"),
        ("newest square in the bound's place", "xp.maximum(normed, -bound)", "normed"),
        _NO_CAUTION,
    ),
    *_all(
        "rules/adan.py", "adan", "Adan",
        ("the first difference counted", "xp.where(step > 1, 1.0, 0.0) *", ""),
        ("difference weighted as in optax", "beta2 / (1 - beta2**step)",
         "(1 - beta2) / (1 - beta2**step)"),
        ("difference left out of the square", "xp.fma(beta2, change, g)", "g"),
        ("decay before the step", " / (1 + lr * weight_decay)", " * (1 - lr * weight_decay)"),
        ("gradient's sign in the state", "exp_avg_sq, -g", "exp_avg_sq, g"),
        ("difference's beta exchanged", "(exp_avg_diff, change, 1 - beta2)",
         "(exp_avg_diff, change, 1 - beta1)"),
        ("square's correction dropped", " / xp.sqrt(1 - beta3**step)", ""),
        ("eps ignored", " + eps", ""),
        _NO_FIRST_CORRECTION,
        _NO_CAUTION,
    ),
    *_all(
        "rules/ademamix.py", "ademamix", "AdEMAMix",
        ("slow mean corrected for its start", "xp.fma(alpha, exp_avg_slow,",
         "xp.fma(alpha / (1 - beta3**step), exp_avg_slow,"),
        ("alpha without warmup", "alpha * xp.minimum", "alpha + 0 * xp.minimum"),
        ("beta3 in a straight line", "xp.exp(1 / ((1 - grown) * first + grown * last))",
         "(1 - grown) * beta1 + grown * beta3"),
        ("means exchanged", "xp.lerp(exp_avg_slow, g, 1 - beta3)",
         "xp.lerp(exp_avg_slow, g, 1 - beta1)"),
        ("square's correction dropped", " / xp.sqrt(1 - beta2**step)", ""),
        ("eps ignored", " + eps", ""),
        _NO_FIRST_CORRECTION,
        _NO_DECOUPLED_DECAY,
        _NO_CAUTION,
    ),
    *_all(
        "rules/adam_atan2.py", "adam_atan2", "AdamAtan2",
        ("a ignored", "a * xp.atan2", "xp.atan2"),
        ("b ignored", "b / xp.sqrt", "1 / xp.sqrt"),
        ("division in its place", "xp.atan2(exp_avg / (1 - beta1**step), size)",
         "(exp_avg / (1 - beta1**step) / size)"),
        ("square's correction dropped", " / xp.sqrt(1 - beta2**step)", ""),
        _NO_FIRST_CORRECTION,
        _NO_DECOUPLED_DECAY,
        _NO_CAUTION,
    ),
    *_all(
        "rules/stable_adamw.py", "stable_adamw", "StableAdamW",
        ("lengthened as well", "xp.maximum(surprise, 1.0)", "surprise"),
        ("never shortened", "lr / xp.maximum(surprise, 1.0)", "lr"),
        ("sum for mean", " / numel)", ")"),
        ("betas not corrected", "b * (1 - b ** (step - 1)) / (1 - b**step)", "b"),
        ("eps of the surprise not squared", "eps * eps", "eps"),
        ("eps ignored", " + eps)", ")"),
        ("decay ignored", "p * (1 - lr * weight_decay)", "p"),
        _NO_CAUTION,
    ),
    *_all(
        "rules/lars.py", "lars", "LARS",
        ("lr outside the momentum", "update = lr * trust * g", "update = trust * g"),
        ("decay left out of the ratio", "of_g + weight_decay * of_p", "of_g"),
        ("squared lengths", "xp.sqrt(xp.sum(p * p))", "xp.sum(p * p)"),
        ("zeros never move", "xp.where(trust_coefficient * of_p * of_g > 0, ratio, 1.0)", "ratio"),
        ("coefficient ignored", "ratio = trust_coefficient * of_p", "ratio = of_p"),
        ("decay left out of the gradient", "g = xp.fma(weight_decay, p, g)", "pass"),
        ("momentum ignored", "xp.fma(momentum, momentum_buffer, update)", "update"),
        _NO_CAUTION,
    ),
    *_all(
        "rules/lamb.py", "lamb", "LAMB",
        ("length of Adam's step without decay", "update = xp.fma(weight_decay, p, update)",
         "p = p * (1 - lr * weight_decay)"),
        ("ratio upside down", "of_p / of_update, 1.0", "of_update / of_p, 1.0"),
        ("second correction dropped", " / xp.sqrt(1 - beta2**step)", ""),
        ("zeros never move", "xp.where(of_p * of_update > 0, of_p / of_update, 1.0)",
         "of_p / xp.maximum(of_update, 1e-30)"),
        ("eps ignored", " + eps", ""),
        _NO_FIRST_CORRECTION,
        _NO_CAUTION,
    ),
    *_all(
        "rules/mars.py", "mars", "MARS",
        ("correction with the wrong sign", "g - last_grad", "last_grad - g"),
        ("not clipped", "xp.maximum(xp.sqrt(xp.sum(corrected * corrected)), 1.0)", "1.0"),
        ("lengthened as well", "xp.maximum(xp.sqrt(xp.sum(corrected * corrected)), 1.0)",
         "xp.sqrt(xp.sum(corrected * corrected))"),
        ("corrected gradient remembered", "exp_avg_sq, g", "exp_avg_sq, corrected"),
        ("gamma ignored", "gamma * beta1", "beta1"),
        ("factor without 1 - beta1", " / (1 - beta1), g - last_grad", ", g - last_grad"),
        ("square of the raw gradient", "(1 - beta2) * corrected, corrected", "(1 - beta2) * g, g"),
        ("eps ignored", " + eps)", ")"),
        _NO_FIRST_CORRECTION,
        _NO_DECOUPLED_DECAY,
        _NO_CAUTION,
    ),
    *_all(
        "rules/schedule_free.py", "_share", "SGDScheduleFree AdamWScheduleFree",
        ("weights of the average forgotten", "step**r * lr_max**weight_lr_power", "1.0 + 0 * lr"),
        ("largest lr not kept", "lr_max = xp.maximum(lr_max, lr)", "lr_max = lr"),
    ),
    *_all(
        "rules/schedule_free.py", "_towards", "SGDScheduleFree AdamWScheduleFree",
        ("average of y, not of z", "blend * (1 - share) - 1", "blend - 1"),
        ("share upside down", "xp.lerp(p, z, share)", "xp.lerp(z, p, share)"),
    ),
    *_all(
        "rules/schedule_free.py", "_warmed_up", "SGDScheduleFree AdamWScheduleFree",
        ("warmup without end", "xp.minimum(step / xp.maximum(warmup_steps, 1.0), 1.0)",
         "(step / xp.maximum(warmup_steps, 1.0))"),
    ),
    *_all(
        "rules/schedule_free.py", "adamw_schedule_free", "AdamWScheduleFree",
        ("root not corrected in lr", " * xp.sqrt(1 - beta2**step)", ""),
        ("no weight decay", "xp.fma(weight_decay, p, g / (xp.sqrt(exp_avg_sq) + eps))",
         "g / (xp.sqrt(exp_avg_sq) + eps)"),
        ("decay at z", "xp.fma(weight_decay, p, g / ", "xp.fma(weight_decay, z, g / "),
        ("z stays", "xp.fma(-lr, update, z)", "z"),
    ),
    *_all(
        "rules/schedule_free.py", "sgd_schedule_free", "SGDScheduleFree",
        ("no weight decay", "xp.fma(weight_decay, p, g)", "g"),
        ("z stepped uphill", "xp.fma(-lr, update, z)", "xp.fma(lr, update, z)"),
        ("blend forgotten", "update, lr, momentum, share", "update, lr, 0.9, share"),
    ),
    *_all(
        "rules/prodigy.py", "prodigy", "Prodigy",
        ("d forgotten in the step", "rate = d * lr", "rate = d0 * lr"),
        ("way with the wrong sign", "(p0 - p)", "(p - p0)"),
        ("sum for length of the sum", "xp.total(xp.abs(s))", "xp.abs(xp.total(s))"),
        ("estimate falls", "xp.maximum(d_max, d_hat)", "d_hat"),
        ("growth without bound", "xp.minimum(d_max / grown, growth_rate)", "d_max / grown"),
        ("coefficient ignored", "d_coef * d_numerator", "d_numerator"),
        ("numerator does not fall", "beta3 * d_numerator + ", "d_numerator + "),
        ("sum does not fall", "g, beta3 * s)", "g, s)"),
        ("old d in eps", "new_d * eps", "d * eps"),
        ("warmup not safeguarded", "xp.where(lr > 0, d, 0.0) if safeguard_warmup else rate",
         "rate"),
        ("rate zero counted", "xp.where(lr > 0, d, 0.0)", "d"),
        ("d left out of the square", "(1 - beta2) * d * d * g", "(1 - beta2) * d * g"),
        ("no correction for the start", "if use_bias_correction", "if False"),
        ("beta3 ignored", "xp.where(beta3 > 0, beta3, xp.sqrt(beta2))", "xp.sqrt(beta2)"),
        ("first estimate not the start", "xp.where(d > d0, d, xp.maximum(d, d_hat))", "d"),
    ),
    *_all(
        "optim/_placement.py", "level", "Prodigy",
        ("estimates not shared", "state[name].copy_(known[name])", "pass"),
    ),
    *_all(
        "rules/_shared.py", "cautious_update", "Lion",
        ("not lengthened", " / xp.maximum(share, 1e-3)", ""),
        ("lengthened by the count", "/ numel", ""),
        ("lengthened without bound", "xp.maximum(share, 1e-3)", "share"),
        ("the disagreeing kept", "xp.sign(update) * g", "-xp.sign(update) * g"),
    ),
    *_all(
        "rules/adafactor.py", "adafactor", "Adafactor",
        ("step uphill", "xp.fma(-rate,", "xp.fma(rate,"),
        ("rows for columns", "xp.column_mean(g * g), newest", "xp.row_mean(g * g), newest"),
        ("estimate not divided by the mean", " / xp.maximum(xp.column_mean(row_var), eps1)", ""),
        ("step not in proportion", "* size / clip", "/ clip"),
        ("update not bounded", "* size / clip", "* size"),
        ("rate does not fall", "xp.minimum(lr, 1 / xp.sqrt(step))", "lr"),
        ("eps not squared", "eps1 * eps1", "eps1"),
        ("vector's rate for matrices", "step**beta2_decay", "step**-0.8"),
        ("size not bounded below", "xp.maximum(xp.norm(p) / xp.sqrt(numel), eps2)",
         "xp.norm(p) / xp.sqrt(numel)"),
        ("d ignored", "(xp.sqrt(numel) * d)", "xp.sqrt(numel)"),
        ("decay after the size", "p = p * (1 - lr * weight_decay)", "p = p * (1 - weight_decay)"),
        _NO_DECOUPLED_DECAY,
    ),
    *_all(
        "rules/muon.py", "muon", "Muon",
        ("step uphill", "xp.fma(-rate,", "xp.fma(rate,"),
        ("momentum not averaged", "1 - momentum)", "momentum)"),
        ("Nesterov ignored", " if nesterov else momentum_buffer", ""),
        ("rate not by shape", "rows / columns", "1.0"),
        ("weight decay ignored", "p * (1 - lr * weight_decay)", "p"),
    ),
    *_all(
        "rules/muon.py", "newton_schulz", "Muon",
        ("norm not divided by", "narrow / xp.maximum(xp.norm(narrow), eps)", "narrow / 1.0"),
        ("fifth power left out", "xp.addmm(b, gram, c, gram, gram)", "b * gram"),
        ("a power too few", "ns_steps, iterate", "ns_steps - 1, iterate"),
    ),
    *_all(
        "rules/sparse_adam.py", "sparse_adam", "SparseAdam",
        ("step uphill", "p - rate", "p + rate"),
        ("no correction for the start", "/ (1 - beta1**step)", ""),
        ("eps inside the root", "(xp.sqrt(exp_avg_sq) + eps)", "xp.sqrt(exp_avg_sq + eps)"),
    ),
    *_all(
        "optim/_reading.py", "", "SGD NormalizedSGD RMSprop Adagrad Adam AdamW",
        ("maximize ignored", '-1.0 if g.get("maximize") else 1.0', "1.0"),
    ),
    *_all(
        "engines/compiled.py", "", "RMSprop Adagrad Adam AdamW",
        ("compiled steps counted by two", 'vectors["step"] += 1', 'vectors["step"] += 2'),
    ),
    *_all(
        "engines/bucket.py", "", "SGD",
        ("every step is a first one", "self.fresh[:] = 0", "pass"),
    ),
)  # fmt: skip
