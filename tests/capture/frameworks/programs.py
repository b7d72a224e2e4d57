"""Small programs of one framework each. What they train, and how, is known by construction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# What every program prints last: the random streams, which capture must leave alone.
START = "import random, numpy; random.seed(7); numpy.random.seed(7)\n"
END = """
import random, numpy, sys
t = sys.modules.get("torch")
print("streams", random.random(), numpy.random.rand(), t.rand(1).item() if t else "")
"""


@dataclass(frozen=True)
class Program:
    """`metrics`: name -> number of points. `models`: class -> whether it is saved, with examples."""

    source: str
    params: dict[str, Any]
    metrics: dict[str, int]
    models: dict[str, bool] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()  # lines that tell time begin so


LOOP = """
import torch, torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
X = torch.randn(96, 4); y = (X[:, :1] > 0).float()
loader = DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True)
class Net(nn.Module):
    calls = 0
    def __init__(self, hidden=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, 1))
    def forward(self, x):
        Net.calls += 1
        return self.layers(x)
def train(epochs=4):
    model = Net(hidden=6)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    for epoch in range(epochs):
        total = 0.0
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        schedule.step()
        print(f"epoch {epoch} mean loss {total / len(loader):.4f}")
    return model
train()
print(Net.calls, len(torch.nn.modules.module._global_forward_pre_hooks))
"""

SEVERAL = """
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(1)
real = torch.randn(8, 1)
make = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
judge = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
first, second = torch.optim.Adam(make.parameters(), lr=1e-3), torch.optim.SGD(judge.parameters(), lr=2e-2, momentum=0.9)
seen = []
judge.register_forward_hook(lambda module, args, out: seen.append(len(out)))
for _ in range(10):
    fake = make(torch.randn(8, 2))
    d_loss = F.softplus(-judge(real)).mean() + F.softplus(judge(fake.detach())).mean()
    second.zero_grad(); d_loss.backward(); second.step()
    g_loss = F.softplus(-judge(fake)).mean()
    first.zero_grad(); g_loss.backward(); first.step()
print(len(seen))
encoder, decoder = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 3)
both = torch.optim.RMSprop([*encoder.parameters(), *decoder.parameters()], lr=3e-4)
for _ in range(3):
    hidden, _ = encoder(torch.randn(6, 7, 3))
    (decoder(hidden).pow(2).mean() / 2).backward()
    both.step(); both.zero_grad()
w = torch.zeros(3, requires_grad=True)
plain = torch.optim.LBFGS([w], lr=1)
def closure():
    plain.zero_grad(); misfit_loss = ((w - torch.arange(3.0)) ** 2).sum(); misfit_loss.backward(); return misfit_loss
plain.step(closure)
print([round(v, 3) for v in w.tolist()])
"""

LIGHTNING = """
import warnings; warnings.simplefilter("ignore")
import logging; logging.disable(logging.WARNING)
import torch, torch.nn as nn, lightning as L
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(1)
class Lit(L.LightningModule):
    def __init__(self, hidden=8, lr=0.01):
        super().__init__(); self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 1))
    def forward(self, x): return self.net(x)
    def training_step(self, batch, index):
        x, y = batch
        loss = nn.functional.mse_loss(self(x), y); self.log("train_loss", loss, on_step=True, on_epoch=True); return loss
    def validation_step(self, batch, index):
        x, y = batch; self.log("val_loss", nn.functional.mse_loss(self(x), y))
    def test_step(self, batch, index):
        x, y = batch; self.log("test_mae", (self(x) - y).abs().mean())
    def configure_optimizers(self): return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
X = torch.randn(120, 4); y = X.sum(1, keepdim=True)
train = DataLoader(TensorDataset(X[:80], y[:80]), batch_size=16, shuffle=True)
valid = DataLoader(TensorDataset(X[80:], y[80:]), batch_size=40)
trainer = L.Trainer(max_epochs=3, logger=False, enable_progress_bar=False, log_every_n_steps=1, enable_checkpointing=False,
                    accelerator="cpu", enable_model_summary=False)
model = Lit(hidden=6)
trainer.fit(model, train, valid)
trainer.test(model, valid, verbose=False)
print(len(trainer.callbacks), [type(c).__name__ for c in trainer.callbacks])
"""

KERAS = """
import os; os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy as np
keras.utils.set_random_seed(0)
X = np.random.rand(128, 5).astype("float32"); y = (X.sum(1) > 2.5).astype("float32")
layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1, activation="sigmoid")]
model = keras.Sequential([keras.layers.Input((5,)), *layers])
model.compile(optimizer=keras.optimizers.Adam(0.02), loss="binary_crossentropy", metrics=["accuracy"])
mine = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, sorted(logs)))
callbacks = [mine]
history = model.fit(X, y, epochs=4, batch_size=32, validation_split=0.25, verbose=0, callbacks=callbacks)
print(len(callbacks), [round(v, 5) for v in history.history["loss"]])
print([round(v, 5) for v in model.evaluate(X, y, verbose=0)])
"""

SKORCH = """
import numpy as np, torch, torch.nn as nn
from skorch import NeuralNetClassifier
torch.manual_seed(0)
X = np.random.RandomState(0).rand(100, 5).astype("float32"); y = (X.sum(1) > 2.5).astype("int64")
class Mod(nn.Module):
    def __init__(self, hidden=6):
        super().__init__(); self.a = nn.Linear(5, hidden); self.b = nn.Linear(hidden, 2)
    def forward(self, x): return torch.softmax(self.b(torch.relu(self.a(x))), -1)
net = NeuralNetClassifier(Mod, max_epochs=4, lr=0.2, batch_size=20, module__hidden=9, verbose=0)
net.fit(X, y)
print(net.score(X, y))
"""

TRANSFORMERS = """
import os; os.environ["HF_HUB_OFFLINE"] = "1"
import warnings; warnings.simplefilter("ignore")
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
torch.manual_seed(0)
config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                    max_position_embeddings=20)
model = BertForSequenceClassification(config)
ones = torch.ones(10, dtype=torch.long)
data = [{"input_ids": torch.randint(0, 50, (10,)), "attention_mask": ones, "labels": torch.tensor(i % 2)} for i in range(40)]
arguments = TrainingArguments("out", num_train_epochs=2, per_device_train_batch_size=8, learning_rate=3e-4, logging_steps=2,
                              report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True)
trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data[:16])
trainer.train()
print("done", round(trainer.evaluate()["eval_loss"], 5))
"""

TABULAR = """
import numpy as np, pandas as pd
import catboost, optuna
import statsmodels.api as sm, statsmodels.formula.api as smf
rng = np.random.default_rng(0)
frame = pd.DataFrame({"a": rng.random(120), "b": rng.random(120), "g": rng.choice(list("xy"), 120)})
target = (frame.a + frame.b > 1).astype(int)
X = frame[["a", "b"]]
boosted = catboost.CatBoostClassifier(iterations=20, depth=3, learning_rate=0.2, verbose=False, random_seed=1,
                                      allow_writing_files=False)
boosted.fit(X[:90], target[:90], eval_set=(X[90:], target[90:]), early_stopping_rounds=5)
print(boosted.score(X[90:], target[90:]))
frame["y"] = 2 * frame.a + (frame.g == "x") + rng.normal(0, 0.1, 120)
least = smf.ols("y ~ a + C(g)", data=frame).fit()
print(round(least.rsquared, 6))
logit = sm.GLM(target, sm.add_constant(X[["a"]]), family=sm.families.Binomial()).fit()
optuna.logging.set_verbosity(optuna.logging.WARNING)
def objective(trial):
    x = trial.suggest_float("x", -2, 2)
    trial.report((x - 1) ** 2, 0)
    if trial.should_prune():
        raise optuna.TrialPruned()
    return (x - 1) ** 2
study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner(n_startup_trials=3))
study.optimize(objective, n_trials=12)
print(study.best_value)
"""

PROGRAMS = {
    "a torch loop": Program(
        LOOP,
        {"optimizer": "AdamW", "lr": 0.05, "weight_decay": 0.1, "batch_size": 32, "loss_function": "BCEWithLogitsLoss",
         "scheduler": "StepLR", "gamma": 0.5, "epochs": 4, "model_parameters": 37, "hidden": 6},
        {"loss": 12, "mean_loss": 4, "lr": 2}, {"Net": True},
    ),
    "several torch optimizers": Program(
        SEVERAL, {"optimizer": "SGD", "momentum": 0.9},
        {"d_loss": 10, "g_loss": 10, "loss": 3, "misfit_loss": 3}, {"Sequential": True, "LSTM": True, "Linear": True},
    ),
    "lightning": Program(
        LIGHTNING, {"max_epochs": 3, "hidden": 6, "lr": 0.01, "optimizer": "Adam", "batch_size": 16, "model_parameters": 37},
        {"train_loss_step": 15, "train_loss_epoch": 3, "val_loss": 3, "test_mae": 1}, {"Lit": True},
    ),
    "keras": Program(
        KERAS, {"optimizer": "Adam", "learning_rate": 0.02, "loss": "binary_crossentropy", "epochs": 4, "batch_size": 32,
                "validation_split": 0.25, "model_parameters": 57},
        {"loss": 4, "accuracy": 4, "val_loss": 4, "val_accuracy": 4, "eval_loss": 1, "eval_accuracy": 1}, {"Sequential": True},
    ),
    "skorch": Program(
        SKORCH, {"lr": 0.2, "max_epochs": 4, "batch_size": 20, "module": "Mod"},
        {"train_loss": 4, "valid_loss": 4, "valid_acc": 4, "score": 1}, {"NeuralNetClassifier": True},
    ),
    "transformers": Program(
        TRANSFORMERS, {"num_train_epochs": 2, "learning_rate": 0.0003, "per_device_train_batch_size": 8, "optimizer": "AdamW"},
        {"loss": 5, "grad_norm": 5, "learning_rate": 5, "train_loss": 1, "eval_loss": 1}, {"BertForSequenceClassification": True},
        quiet=("{",),
    ),
    "catboost, statsmodels, optuna": Program(
        TABULAR, {"depth": 3, "learning_rate": 0.2, "iterations": 20, "early_stopping_rounds": 5, "family": "Binomial",
                  "n_trials": 12, "sampler": "TPESampler"},
        {"validation-Logloss": 20, "score": 1, "rsquared": 1, "aic": 1, "best_value": 1},
        {"CatBoostClassifier": True, "OLS": True, "GLM": True},
        ("CatBoostClassifier importances", "OLS coefficients", "GLM coefficients", "trials"),
    ),
}  # fmt: skip
