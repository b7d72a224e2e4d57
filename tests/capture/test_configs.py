# ruff: noqa: E501  programs are easier to read in as many lines as they have
"""Configuration of every kind is found as parameters, and the program does not notice."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from .conftest import Run

FILES = {"conf.yaml": "opt:\n  lr: 0.1\ndepth: 4\n", "train.toml": "depth = 4\n[opt]\nlr = 0.1\n",
         "config.json": '{"opt": {"lr": 0.1}, "depth": 4}', "rows.json": '{"a": 1}'}  # fmt: skip
# What is needed, the program, its arguments, the parameters.
CASES: dict[str, tuple[str, str, list[str], dict[str, Any]]] = {
    "click": (
        "click",
        "import click\n@click.command()\n@click.option('--lr', default=0.1)\n@click.option('--epochs', default=3)\n"
        "def main(lr, epochs):\n    print('loss', lr * epochs)\nmain()",
        ["--lr", "0.5"], {"lr": 0.5, "epochs": 3},
    ),
    "typer": (
        "typer",
        "import typer\napp = typer.Typer()\n@app.command()\ndef main(lr: float = 0.1, depth: int = 3):\n    print('loss', lr)\napp()",
        ["--lr", "0.5"], {"lr": 0.5, "depth": 3},
    ),
    "fire": (
        "fire",
        "import fire\ndef train(lr=0.1, depth=3):\n    print('loss', lr)\nfire.Fire(train)",
        ["0.25", "--depth", "7"], {"lr": 0.25, "depth": 7},
    ),
    "absl": (
        "absl",
        "from absl import app, flags\nflags.DEFINE_float('lr', 0.1, 'h')\ndef main(argv):\n    print('loss', flags.FLAGS.lr)\napp.run(main)",
        ["--lr=0.75"], {"lr": 0.75},
    ),
    "omegaconf": (
        "omegaconf",
        "from omegaconf import OmegaConf\nc = OmegaConf.create({'model': {'layers': 3}, 'lr': 0.1})\n"
        "c = OmegaConf.merge(c, OmegaConf.from_cli())\nprint('loss', c.lr)",
        ["lr=0.9"], {"lr": 0.9, "model.layers": 3},
    ),
    "hydra": (
        "hydra",
        "import hydra\n@hydra.main(version_base=None, config_path='.', config_name='conf')\ndef main(cfg):\n    print('loss', cfg.opt.lr)\nmain()",
        ["opt.lr=0.33"], {"opt.lr": 0.33, "depth": 4},
    ),
    "jsonargparse": (
        "jsonargparse",
        "from jsonargparse import ArgumentParser\np = ArgumentParser()\np.add_argument('--opt.lr', type=float, default=0.1)\n"
        "a = p.parse_args()\nprint('loss', a.opt.lr)",
        ["--opt.lr", "0.6"], {"opt.lr": 0.6},
    ),
    "dataclasses": (
        "dataclasses",
        "from dataclasses import dataclass, field\n@dataclass\nclass Inner:\n    width: int = 8\n@dataclass\nclass TrainConfig:\n"
        "    lr: float = 0.1\n    inner: Inner = field(default_factory=Inner)\ncfg = TrainConfig(lr=0.2)\nprint('loss', cfg.lr)",
        [], {"lr": 0.2, "inner.width": 8},
    ),
    "pydantic": (
        "pydantic",
        "from pydantic import BaseModel\nclass Settings(BaseModel):\n    lr: float = 0.1\ncfg = Settings(lr=0.2)\nprint('loss', cfg.lr)",
        [], {"lr": 0.2},
    ),
    "yaml": ("yaml", "import yaml\ncfg = yaml.safe_load(open('conf.yaml'))\nprint(cfg)", [], {"opt.lr": 0.1, "depth": 4}),
    "toml": ("tomllib", "import tomllib\ncfg = tomllib.load(open('train.toml', 'rb'))\nprint(cfg)", [], {"opt.lr": 0.1, "depth": 4}),
    "json": ("json", "import json\ncfg = json.load(open('config.json'))\nprint(cfg)", [], {"opt.lr": 0.1, "depth": 4}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_settings_are_parameters(run: Run, name: str) -> None:
    needed, program, argv, wanted = CASES[name]
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    plain = run(program, *argv, capture=False, files=FILES)
    done = run(program, *argv, files=FILES)
    assert (done.code, done.out, done.err) == (plain.code, plain.out, plain.err)
    found = done.params
    assert {k: found.get(k) for k in wanted} == wanted


def test_a_data_file_is_no_configuration(run: Run) -> None:
    assert "a" not in run("import json\nrows = json.load(open('rows.json'))\nprint(rows)", files=FILES).params


def test_a_source_is_set_up_for_every_package_it_has_hooks_for(run: Run) -> None:
    done = run("""
        import headway.capture.sources as sources
        from headway.capture import session
        for name, packages in sources._SOURCES.items():
            made = session.Session('x')
            made.waiting.clear()
            sources._set_up(made, name)
            tops = {hook.split('.')[0] for hook in made.hooks}
            if packages and not tops <= set(packages):
                print(name, tops - set(packages))
    """, capture=False, env={"PYTHONPATH": str(__import__("headway").__path__[0]) + "/.."})  # fmt: skip
    assert (done.out, done.err) == ("", "")
