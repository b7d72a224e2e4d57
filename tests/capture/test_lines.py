"""Lines that programs put together in one place and print in another, and loops over results by name."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Run

LOOP = "for epoch in range(3):\n    loss = 1 / (epoch + 3)\n    "
SERIES = [1 / 3, 1 / 4, 1 / 5]

RELAYS: dict[str, tuple[str, str]] = {
    # name: (what hands the text on, the call in the loop)
    "print": ("def say(text):\n    print(text)\n", "say(f'epoch {epoch} train loss {loss:.3f}')"),
    "a stamp before it": ("def say(text):\n    print('12:00 ' + text)\n", "say('train loss %.3f' % loss)"),
    "a logger": (
        "import logging\nlogging.basicConfig(level='INFO')\ndef say(text):\n    logging.info(text)\n",
        "say('train loss: {:.4f}'.format(loss))",
    ),
    "a method": (
        "class Log:\n    def write(self, text, flush=False):\n        print(text)\nlog = Log()\n",
        "log.write('train loss ' + str(loss))",
    ),
    "second argument": (
        "def say(level, text):\n    print(text)\n",
        "say(1, f'train loss {loss}')",
    ),
    "two functions": (
        "def out(text):\n    print(text)\ndef say(text):\n    out(text)\n",
        "say(f'train loss {loss:.5f}')",
    ),
}


@pytest.mark.parametrize("name", RELAYS)
def test_a_text_that_is_handed_on_is_the_line_of_who_made_it(run: Run, name: str) -> None:
    relay, call = RELAYS[name]
    found = run(relay + LOOP + call)
    assert found.code == 0, found.err
    assert list(found.metrics) == ["train_loss"]
    assert found.metrics["train_loss"] == pytest.approx(SERIES, abs=1e-3)


def test_what_a_function_prints_of_its_own_stays_its_own(run: Run) -> None:
    found = run("def show(name, accuracy):\n    print(f'{name}: accuracy {accuracy:.2f}')\nshow('tree', 0.25 + 0.5)")
    assert {k.split("/")[0]: v for k, v in found.metrics.items()} == {"accuracy": [0.75]}


ENTRIES: dict[str, tuple[str, dict[str, list[float]]]] = {
    "results by name": (
        "def measure(e): return {'epoch': e, 'loss': 1 / (e + 2), 'val_accuracy': e / 4}\n"
        "for epoch in range(3):\n    log = measure(epoch)\n    for key, value in log.items():\n"
        "        print(f'{key:12s}: {value}')",
        {"loss": [1 / 2, 1 / 3, 1 / 4], "val_accuracy": [0.0, 0.25, 0.5]},
    ),
    "what is none": (
        "for name, value in {'width': 3 / 2, 'seconds': 5 / 4}.items():\n    print(name, value)",
        {},
    ),
    "secrets stay hidden": (
        "for key, value in {'hunter2hunter2': 1.5}.items():\n    print(key, value)",
        {},
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_loop_over_results_gives_each_its_own_metric(run: Run, name: str) -> None:
    program, metrics = ENTRIES[name]
    done = run(program)
    assert done.metrics == metrics
    assert "hunter2" not in "".join(str(f) for f in done.facts if f["k"] in ("print", "names"))


SUMS: dict[str, tuple[str, dict[str, list[float]]]] = {
    "divided where it is printed": (
        "def train():\n    total_loss, n = 0.0, 4\n    for i in range(n):\n        total_loss += 1 / (i + 1)\n"
        "    print(f'mean loss: {total_loss / n:.3f}')\ntrain()",
        {"mean_loss": [0.521]},
    ),
    "a count and its share": (
        "def test():\n    correct = 0\n    for i in range(8):\n        correct += i % 2\n"
        "    acc = correct / 8\n    print('accuracy', acc)\ntest()",
        {"acc": [0.5]},
    ),
    "reset after each print": (
        "def play():\n    score = 0.0\n    for n_epi in range(1, 5):\n        score += n_epi\n        if n_epi % 2 == 0:\n"
        "            print('avg score : {:.1f}'.format(score / 2))\n            score = 0.0\n    score += 7\nplay()",
        {"avg_score": [1.5, 3.5]},
    ),
    "nothing reads it": (
        "loss_avg = 0.0\nfor i in range(3):\n    loss = 1 / (i + 2)\n    loss_avg += loss\n    print(i, 'loss', loss)",
        {"loss": [1 / 2, 1 / 3, 1 / 4]},
    ),
    "a count beside its share": (
        "correct, n = 0.0, 8\nfor i in range(n):\n    correct += i % 2\n"
        "print('Test Accuracy (Overall): %2d%% (%2d/%2d)' % (100 * correct / n, correct, n))",
        {"test_accuracy": [50.0]},
    ),
    "a list that a loop empties": (
        "losses, means = [], []\nfor epoch in range(3):\n    for i in range(4):\n        loss = 1 / (epoch + i + 3)\n"
        "        losses.append(loss)\n    train_loss = sum(losses) / len(losses)\n"
        "    print('train loss', train_loss)\n    losses = []",
        {
            "train_loss": [
                (1 / 3 + 1 / 4 + 1 / 5 + 1 / 6) / 4,
                (1 / 4 + 1 / 5 + 1 / 6 + 1 / 7) / 4,
                (1 / 5 + 1 / 6 + 1 / 7 + 1 / 8) / 4,
            ]
        },
    ),
    "the last part of a sum": (
        "def test():\n    total, n = 0.0, 4\n    for i in range(n):\n        loss = 1 / (i + 2)\n        total += loss\n"
        "    print('test loss: {:.3f}'.format(total / n))\ntest()",
        {"test_loss": [0.321]},
    ),
    "a sum that is shown is a result": (
        "total_reward = 0.0\nfor i in range(3):\n    total_reward += i\nprint('total reward', total_reward)",
        {"total_reward": [3.0]},
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_running_sum_is_no_result_beside_what_is_made_of_it(run: Run, name: str) -> None:
    program, metrics = SUMS[name]
    assert run(program).metrics == metrics


SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "a dict that is called so": (
        "GPT_CONFIG_124M = {'vocab_size': 256, 'drop_rate': 0.1}\nfor epoch in range(3):\n"
        "    loss = GPT_CONFIG_124M['drop_rate'] * epoch",
        {"vocab_size": 256, "drop_rate": 0.1, "epochs": 3},
    ),
    "sections of a dict": (
        "config = {'data': {'window': 20}, 'model': {'layers': {'size': 32}}, 'plots': {'interval': 90}}\nprint(config)",
        {"window": 20, "size": 32},
    ),
    "a method of the user's": (
        "class Cost: pass\nclass Net:\n    def __init__(self, sizes, cost):\n        self.sizes = sizes\n"
        "    def learn(self, data, epochs, eta):\n        return eta\nimport types\ncosts = types.SimpleNamespace(Cost=Cost)\n"
        "net = Net([3, 2], cost=costs.Cost)\nnet.learn(None, 8, 0.5)",
        {"sizes": [3, 2], "cost": "Cost", "epochs": 8, "eta": 0.5},
    ),
    "figures are none": ("fig_params = {'height': 256}\nprint(fig_params)", {}),
    "an environment by name": (
        "class gym:\n    make = staticmethod(lambda name, **more: name)\nenv = gym.make('CartPole-v1')\n",
        {"env": "CartPole-v1"},
    ),
    "episodes": ("for n_epi in range(40):\n    reward = n_epi / 2", {"episodes": 40}),
    "a seed for each rank": (
        "class torch:\n    manual_seed = staticmethod(int)\nrank = 0\ntorch.manual_seed(1337 + rank)",
        {"rank": 0, "seed": 1337},
    ),
    "a loop that goes on from somewhere": (
        "start_epoch = 5\nfor epoch in range(start_epoch, start_epoch + 20):\n    loss = 1 / (epoch + 1)",
        {"epochs": 20, "start_epoch": 5},
    ),
    "JSON in order": (
        "import json, collections\n"
        "open('config.json', 'w').write(json.dumps({'arch': {'type': 'Net'}, 'loss': 'nll', 'epochs': 3}))\n"
        "with open('config.json') as f:\n    config = json.load(f, object_hook=collections.OrderedDict)\n",
        {"arch.type": "Net", "loss": "nll", "epochs": 3},
    ),
    "JSON for logging is none": (
        "import json\nopen('log_config.json', 'w').write(json.dumps({'version': 1, 'handlers': {}, 'loss': 3}))\n"
        "settings = json.load(open('log_config.json'))\n",
        {},
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(run: Run, name: str) -> None:
    program, params = SETTINGS[name]
    assert {k: v for k, v in run(program).params.items() if k not in ("name",)} == params


def test_a_result_of_a_dict_and_its_print_are_one(run: Run) -> None:
    done = run(
        "a = 0.7\nstats = {'precision': a + 0.1, 'recall': a - 0.2}\nfor key, value in stats.items():\n    print(key, value)"
    )
    assert set(done.metrics) == {"precision", "recall"}
