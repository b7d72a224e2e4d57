"""What names mean: which words speak of a result, which of a prediction, which of neither."""

from __future__ import annotations

import itertools
import re

__all__ = ["is_metric_name", "is_noise_name", "is_prediction_name", "is_truth_name", "loop_parameter", "words"]

_METRIC = frozenset(
    [
        "loss",
        "losses",
        "cost",
        "costs",
        "acc",
        "accs",
        "accuracy",
        "accuracies",
        "err",
        "errs",
        "error",
        "errors",
        "mse",
        "mses",
        "rmse",
        "rmsle",
        "mae",
        "mape",
        "rae",
        "rse",
        "sse",
        "rss",
        "r2",
        "rsquared",
        "rsq",
        "auc",
        "roc",
        "rocauc",
        "prauc",
        "f1",
        "fscore",
        "fbeta",
        "precision",
        "recall",
        "score",
        "scores",
        "perplexity",
        "ppl",
        "bleu",
        "rouge",
        "reward",
        "rewards",
        "returns",
        "likelihood",
        "loglik",
        "loglikelihood",
        "llf",
        "nll",
        "elbo",
        "kl",
        "aic",
        "bic",
        "deviance",
        "iou",
        "dice",
        "map",
        "ndcg",
        "mrr",
        "corr",
        "correlation",
        "inertia",
        "silhouette",
        "logloss",
        "metric",
        "metrics",
        "gini",
        "kappa",
        "mcc",
        "brier",
        "pvalue",
        "specificity",
        "sensitivity",
        "fitness",
        "objective",
        "residual",
        "sharpe",
        "homogeneity",
        "completeness",
        "nmi",
        "ari",
        "hinge",
        "crossentropy",
        "xent",
        "bce",
        "mlm",
        "psnr",
        "ssim",
        "fid",
        "wer",
        "cer",
        "rouge1",
        "rougel",
        "hits",
        "correct",
        "misclassified",
        "explained",
        "evidence",
        "quality",
        "distortion",
        "stress",
        "coverage",
        "regret",
        "fval",
    ]
)
_PREDICTION = re.compile(
    r"^(?:y?_?(?:pred|preds|hat|predicted|prediction|predictions|prob|probs|proba|probas|fitted)|yhat|yp|ypred\d*"
    r"|predict\w*|outputs?|logits?|y_?(?:pred|hat|prob|proba|score|scores|est)\w*"
    r"|\w+_(?:pred|preds|hat|proba|probs))$",
    re.IGNORECASE,
)
_TRUTH = re.compile(
    r"^(?:y|targets?|labels?|truth|true|actual|expected|gold)(?:_\w+)?$|^\w+_(?:y|labels|targets?|true)$", re.IGNORECASE
)
_NOISE = frozenset(
    [
        "time",
        "elapsed",
        "sec",
        "secs",
        "seconds",
        "ms",
        "duration",
        "epoch",
        "epochs",
        "step",
        "steps",
        "iter",
        "iters",
        "iteration",
        "iterations",
        "batch",
        "batches",
        "idx",
        "index",
        "i",
        "j",
        "k",
        "n",
        "t",
        "ii",
        "size",
        "shape",
        "len",
        "length",
        "count",
        "total",
        "memory",
        "mem",
        "device",
        "rank",
        "lr",
        "learning",
        "rate",
        "fold",
        "trial",
        "id",
        "date",
        "day",
        "year",
        "month",
        "version",
        "seed",
        "gpu",
        "cpu",
        "speed",
        "eta",
        "samples",
        "rows",
        "columns",
        "params",
        "parameters",
        "tokens",
    ]
)
_QUIET = frozenset(
    ["lr", "rate", "time", "elapsed", "seconds", "sec", "ms", "duration", "minutes", "speed", "eta", "memory", "mem"]
)


def words(name: str) -> list[str]:
    """`valLoss_2` -> ["val", "loss", "2"]."""
    split = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [w for w in re.split(r"[^A-Za-z0-9]+", split.lower()) if w]


def is_metric_name(name: str) -> bool:
    """Whether a name speaks of a result: `val_loss`, `R^2`, `mean squared error`, `testAcc`."""
    found = words(name)
    if any(w in _QUIET for w in found):
        return False
    joined = "".join(found)
    if joined in ("r2", "rsquared", "coefficientofdetermination"):
        return True
    if any(len(a) > 2 and a + b in _METRIC for a, b in itertools.pairwise(found)):  # `cross_entropy`, `log_loss`
        return True
    return any(w in _METRIC or w.rstrip("0123456789") in _METRIC for w in found) or joined.endswith(
        ("loss", "acc", "accuracy", "error", "score", "mse", "rmse", "cost", "pvalue")
    )


def is_noise_name(name: str) -> bool:
    """Whether a name speaks of time, counting or bookkeeping."""
    found = words(name)
    return bool(found) and (any(w in _QUIET for w in found) or all(w in _NOISE or w.isdigit() for w in found))


def is_prediction_name(name: str) -> bool:
    return bool(_PREDICTION.match(name))


def is_truth_name(name: str) -> bool:
    """Whether a name holds what a prediction is held against: `y_test`, `labels`."""
    return bool(_TRUTH.match(name)) and not is_prediction_name(name)


def loop_parameter(variable: str) -> str:
    """What the length of a loop over `variable` is called: the parameter that `range(n)` is."""
    found = set(words(variable))
    if found & {"epoch", "epochs", "ep"} or variable == "e":
        return "epochs"
    if found & {"step", "steps"}:
        return "steps"
    if found & {"trial", "trials"}:
        return "trials"
    if found & {"episode", "episodes", "epi", "eps"}:
        return "episodes"
    return "iterations"
