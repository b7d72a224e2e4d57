"""Models of the user's own layers load anywhere, and files of models that programs write themselves are tied to their models."""

from __future__ import annotations

from tests.capture.conftest import Run

from .test_frameworks import _prove

LAYERS = """
import os; os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy as np
from keras import layers, ops
class Scale(layers.Layer):
    def __init__(self, units, **more):
        super().__init__(**more)
        self.units = units
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], self.units))
    def call(self, x):
        return double(ops.matmul(x, self.w))
def double(x):
    return 2 * ops.maximum(x, 0)
def distance(y, p):
    return ops.mean(ops.abs(y - p))
X = np.random.rand(32, 4).astype("float32")
y = X.sum(1, keepdims=True)
model = keras.Sequential([keras.Input((4,)), Scale(3), layers.Dense(1, activation=double)])
model.compile("adam", distance)
model.fit(X, y, epochs=2, verbose=0)
"""

FILES = """
import os, joblib, torch, torch.nn as nn
from pathlib import Path
from safetensors.torch import save_file
from sklearn.linear_model import Ridge
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
    def forward(self, x):
        return self.layer(x)
class Other(Net):
    pass
X = torch.randn(32, 4); y = X.sum(1, keepdim=True)
def train(kind):
    model = kind()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        loss = ((model(X) - y) ** 2).mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        torch.save({"epoch": epoch, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, "best.pth")
    return model
model = train(Net)
other = train(Other)
os.mkdir("out")
torch.save(model.state_dict(), Path("out") / "weights.pt")
with open("whole.pt", "wb") as stream:
    torch.save(other, stream)
save_file(model.state_dict(), "weights.safetensors")
torch.save(torch.ones(3), "data.pt")
joblib.dump(Ridge().fit(X.numpy(), y.numpy()), "ridge.joblib")
"""


def test_a_keras_model_of_own_parts_loads_and_answers_without_the_program(run: Run, frameworks: str) -> None:
    done = run(LAYERS, python=frameworks)
    assert (done.code, done.record["notes"]) == (0, []), done.err
    proofs = _prove(frameworks, [m["folder"] for m in done.record["models"]], done.folder)
    assert [(p["ok"], p["examples"]) for p in proofs.values()] == [(True, 5)], proofs


def test_files_of_models_are_tied_to_them(run: Run, frameworks: str) -> None:
    done = run(FILES, python=frameworks)
    assert (done.code, done.record["notes"]) == (0, []), done.err
    found = {f["name"]: (f["how"], f["cls"], f["saves"], f["beside"]) for f in done.record["checkpoints"]}
    assert found == {
        "best.pth": ("torch", "Other", 6, {"epoch": 2}),
        "out/weights.pt": ("torch", "Net", 1, {}),
        "whole.pt": ("torch", "Other", 1, {}),
        "weights.safetensors": ("safetensors", "Net", 1, {}),
        "data.pt": ("torch", "Tensor", 1, {}),
        "ridge.joblib": ("joblib", "Ridge", 1, {}),
    }
    tied = {m["class"]: sorted(p.rsplit("/", 1)[-1] for p in m["files"]) for m in done.record["models"]}
    assert tied["Net"] == ["weights.pt", "weights.safetensors"]
    assert tied["Other"] == ["best.pth", "whole.pt"]
    assert tied["Ridge"] == ["ridge.joblib"]
