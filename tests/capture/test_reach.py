"""What a run tells of code that was imported and hardly used, of figures that nobody looks at, of steps beside their averages."""

from __future__ import annotations

import pytest

from headway.capture.headlines import headlines
from headway.capture.merging import Candidate
from headway.capture.program import Program
from headway.capture.results import Results
from headway.capture.running import without_sums

from .conftest import Run

ZOO = (
    "class Small:\n    def __init__(self, width=8):\n        self.width = width\n"
    "class Large:\n    def __init__(self):\n        self.inner = Small(width=4096)\n"
    "def check():\n    rate = 0.77\n    print('score', rate * Large().inner.width)\n"
    "if __name__ == '__main__':\n    batch_size = 999\n    print('loss', batch_size)\n"
)

REACHED: dict[str, tuple[str, set[str]]] = {
    # name: (program beside zoo.py, the values of its parameters)
    "one class of a file": ("from zoo import Small\nmodel = Small(width=16)\nprint('score', model.width / 3)", {"16"}),
    "a class within a class": ("import zoo\nmodel = zoo.Large()\nprint('score', model.inner.width / 3)", {"4096"}),
    "a function of its own name": (
        "from zoo import Small\ndef check(depth=3):\n    return depth\nprint('score', check(depth=5) / 3)",
        {"5"},
    ),
    "by a name that is computed": (
        "import zoo\nmodel = getattr(zoo, 'Sm' + 'all')()\nprint('score', model.width / 3)",
        {"4096", "0.77"},
    ),
}


@pytest.mark.parametrize("name", REACHED)
def test_literals_are_of_code_that_ran_or_can_have_run(run: Run, name: str) -> None:
    text, values = REACHED[name]
    found = {str(value) for value in run(text, files={"zoo.py": ZOO}).params.values()}
    assert values <= found
    assert "999" not in found
    assert found <= values | {"8"}


PLT = "class plt:\n    @staticmethod\n    def plot(*given, **options):\n        pass\n"
DRAWN: dict[str, tuple[str, set[str]]] = {
    # name: (program, its parameters)
    "an option of a line": ("lw = 2\nplt.plot([1.0], lw=lw)", set()),
    "the colours of lines": ("colors = ['r', 'g']\nplt.plot([1.0], c=colors[0])", set()),
    "drawn and used": ("width = 2\nscore = width / 3\nprint(score)\nplt.plot([score], lw=width)", {"width"}),
    "a result that is drawn": ("def train(x):\n    return [x / 3]\nrate = 0.7\nplt.plot(train(rate))", {"rate"}),
    "a name of a file": ("import os\ndataset = 'iris'\nos.path.join('a', dataset)", {"dataset"}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_only_a_drawing_reads_is_no_parameter(run: Run, name: str) -> None:
    text, names = DRAWN[name]
    assert set(run(PLT + text).params) == names


FITS: dict[str, tuple[str, int, set[str]]] = {
    # name: (program, how many fits it has, what the first tells)
    "nobody looks": ("fit = ols(0).fit()", 1, {"rsquared", "aic"}),
    "one figure is read": ("fit = ols(0).fit()\nprint(fit.bic)", 1, {"rsquared", "bic"}),
    "a summary is shown": ("fit = ols(0).fit()\nprint(fit.summary())", 1, {"rsquared", "aic", "bic", "llf"}),
    "a table of a summary is shown": ("fit = ols(0).fit()\nfit.summary().tables[1]", 1, {"rsquared", "aic"}),
    "a crowd, at which nobody looks": ("fit = ols(0).fit()", 9, set()),
    "a crowd, of which one is read": ("fit = ols(0).fit()\nprint(fit.aic)", 9, {"aic"}),
    "a crowd, each with its summary": ("fit = ols(0).fit()\nfit.summary()", 9, {"rsquared"}),
    "another fit is read": ("fit = ols(0).fit()\nother = ols(1).fit()\nprint(other.bic)", 1, {"rsquared", "aic"}),
}


@pytest.mark.parametrize("name", FITS)
def test_a_statistical_fit_tells_its_headline_and_what_is_looked_at(name: str) -> None:
    text, fits, expected = FITS[name]
    program = Program()
    program.add("fits.py", text + "".join(f"\nf{n} = ols({n}).fit()" for n in range(fits - 1)))
    results = Results(program)
    last = text.count("\n") + 1
    for site, line in enumerate([1, *range(last + 1, last + fits)]):
        for figure in ("rsquared", "rsquared_adj", "aic", "bic", "llf"):
            results.found["outcome", site, figure, ""] = Candidate("fit", "fits.py", line, figure, [(None, 0.5, site)])
    headlines(results)
    assert {key[2] for key in results.found if key[1] == 0} == expected


STEPS: dict[str, tuple[str, list[str]]] = {
    # name: (what follows `loss` in a loop over batches, within one over epochs; what is told)
    "an average is printed": ("total += loss.item()\n    print(total / 5)", ["print"]),
    "a meter's average is printed": ("total.update(loss.item(), 8)\n    print(total.avg)", ["print"]),
    "an average by a name of its own": ("total += loss.item()\n    mean = total / 5\n    print(mean)", ["print"]),
    "something else is printed": ("total += loss.item()\n    print(score)", ["names", "print"]),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_give_way_to_their_averages(name: str) -> None:
    text, told = STEPS[name]
    program = Program()
    program.add("a.py", f"for epoch in epochs:\n    for batch in batches:\n        loss = step(batch)\n        {text}")
    shown = text.rpartition("print(")[2].rstrip(")")
    steps = Candidate("names", "a.py", 3, "loss", [(n, 1 / (n + 1), n) for n in range(20)], series=True)
    steps.keys.add(("definition", "a.py", "<module>", "loss", (0, 3), ""))
    average = Candidate("print", "a.py", 5, shown, [(n, 0.5 / (n + 1), n) for n in range(4)])
    kept = without_sums({("turns", "a.py", "<module>", 2, "loss", ""): steps, ("print", "a.py"): average}, program)
    assert [c.source for c in kept] == told


def test_a_score_that_a_library_takes_on_its_own_account_is_no_score(run: Run) -> None:
    likely = """
    from sklearn.dummy import DummyClassifier

    class Likely(DummyClassifier):
        def information(self, X, y):
            return -2 * self.score(X, y)
    """
    text = """
    import sys; sys.path.insert(0, "site-packages")
    from likely import Likely
    X, y = [[0]] * 7, [0, 0, 0, 0, 0, 1, 1]
    aic = []
    for n in range(2):
        model = Likely().fit(X, y)
        aic.append(model.information(X, y))
    """
    assert run(text, files={"site-packages/likely/__init__.py": likely}).metrics == {"aic": [-2 * 5 / 7] * 2}
