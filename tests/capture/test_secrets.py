"""Secrets planted where users have them: not one is on disk, in the record, or on its way to a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headway.capture.redact import HIDDEN, redact, redact_code, secret_name

from .conftest import SOURCE, Run

PLANTED = {
    "password": "Tr0ub4dor-and-3",
    "api_key": "plainwords-without-shape",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "github": "ghp_0123456789abcdef0123456789abcdef0123",
    "openai": "sk-proj-0123456789abcdefghijABCDEFGHIJ",
    "url": "pg-pass-in-url",
    "query": "signature-in-query-9",
    "flag": "given-on-the-command-line",
    "pem": "MIIEowIBAAKCAQEAplanted",
    "environ": "only-in-the-environment",
    "bearer": "abcdefghijklmnopqrstuvwx0123",
    "annotated": "annotated-default-7",
    "triple": "triple-quoted-secret",
    "dict": "value-in-a-dict-8",
    "cell": "in-a-frame-cell-4711",
}
PROGRAM = '''
import argparse, dataclasses, json, logging, os
import pandas as pd
from sklearn.linear_model import Ridge
password = "{password}"
API_KEY: str = "{annotated}"
client_secret = """
{triple}
"""
settings = {{"lr": 0.5, "api_key": "{api_key}", "nested": {{"token": "{dict}"}}}}
db = "postgresql://user:{url}@host/db"
link = "https://host/data.csv?X-Amz-Signature={query}&n=1"
pem = "-----BEGIN RSA PRIVATE KEY-----\\n{pem}\\n-----END RSA PRIVATE KEY-----"
header = "Authorization: Bearer {bearer}"
jwt, aws, github, openai = "{jwt}", "{aws}", "{github}", "{openai}"
@dataclasses.dataclass
class Config:
    lr: float = 0.1
    auth_token: str = "{annotated}"
parser = argparse.ArgumentParser()
parser.add_argument("--db-password")
parser.add_argument("--lr", type=float, default=0.5)
options = parser.parse_args()
config = Config()
secret_from_environment = os.environ["MY_DATABASE_PASSWORD"]
with open("settings.json") as file:
    loaded = json.load(file)
frame = pd.read_csv("rows.csv")
model = Ridge(alpha=options.lr).fit(frame[["x"]], frame["y"])
def work(token, score):
    session_cookie = token
    print("score", score, db, link, jwt, aws, github, openai, header, pem)
    print(f"token={{token}} score={{score}}")
    logging.getLogger().warning("score %s %s", score, db)
work(password, model.score(frame[["x"]], frame["y"]))
print("password", password, options, settings, loaded, secret_from_environment)
raise ValueError(f"can't reach {{db}} with {{github}}")
'''


def planted(text: str) -> list[str]:
    return [name for name, secret in PLANTED.items() if secret in text]


def test_no_secret_is_on_disk_or_in_the_record(run: Run) -> None:
    program = PROGRAM.format(**PLANTED)
    files = {"rows.csv": f"x,y,who\n1,1,{PLANTED['cell']}\n2,2,b\n3,3.1,c\n",
             "settings.json": json.dumps({"password": PLANTED["password"], "depth": 3})}  # fmt: skip
    environ = {"MY_DATABASE_PASSWORD": PLANTED["environ"]}
    done = run(program, "--db-password", PLANTED["flag"], env=environ, files=files)
    assert done.code == 1
    assert PLANTED["password"] in done.out  # the program itself prints as it likes
    for path in sorted(done.spool.rglob("*")):
        if path.is_file():
            assert planted(path.read_bytes().decode("utf-8", "replace")) == [], path.name
    assert planted(json.dumps(done.record, default=str)) == []
    assert done.params["lr"] == 0.5
    assert done.params["depth"] == 3
    assert done.metrics["score"][0] > 0.9


@pytest.mark.parametrize(
    "line",
    [
        'password = "{}"', "config['api_key'] = '{}'", 'os.environ["WANDB_API_KEY"] = "{}"', 'connect(password="{}")',
        'class A:\n    token: str = "{}"', 'token = (\n    "{}"\n)', 'add_argument("--secret", default="{}")',
        'secret = """\n{}\n"""', '{{"auth_token": "{}"}}', 'dbPassword = "{}"', 'PASSWORD = b"{}"', 'key = f"{}"',
    ],
)  # fmt: skip
def test_code_is_kept_without_its_secrets(line: str) -> None:
    text = redact_code(line.format("s3cr3t-value"))
    assert "s3cr3t" not in text
    assert HIDDEN in text


@pytest.mark.parametrize(
    "name", ["max_tokens", "n_keys", "pad_token_id", "monkey", "tokenizer", "author", "passes", "keyboard"]
)
def test_names_that_only_look_like_secrets(name: str) -> None:
    assert not secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["AWS_SESSION_TOKEN", "session_token", "loginToken", "api_keys", "apiKey", "dbPassword", "connectionString", "X-Auth-Token",
     "http.cookie", "GH_ACCESS_KEY", "admin_token"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert secret_name(name)


@pytest.mark.parametrize("name", ["github", "openai", "jwt", "aws"])
def test_one_secret_in_a_long_list_is_hidden(name: str) -> None:
    words = [f"package-{n}==1.0" for n in range(30)]
    assert redact([*words, PLANTED[name], *words]) == [*words, HIDDEN, *words]


def test_texts_without_secrets_need_no_regular_expressions() -> None:
    """Their module takes longer to import than capture to start."""
    lines = ["import sys", f"sys.path.insert(0, {str(SOURCE)!r})", "from headway.capture import redact",
             "texts = ['scikit-learn==1.5', 'hf-xet==1.8.0', 'task_1 disk-22 loss 0.5', 'accuracy 0.91'] * 9",
             "assert redact.redact(texts, 'n_keys') == texts and redact.redact_code('loss = 0.5') == 'loss = 0.5'",
             "assert redact.secret_name('API_KEY') and not redact.secret_name('max_tokens')",
             "sys.exit('re' in sys.modules)"]  # fmt: skip
    assert subprocess.run([sys.executable, "-I", "-S", "-c", "\n".join(lines)], check=False).returncode == 0


def test_the_corpus_is_planted(tmp_path: Path) -> None:
    assert planted(PROGRAM.format(**PLANTED)) == [n for n in PLANTED if n not in ("flag", "environ", "cell")]
