"""Facts to a record: `{params, metrics, models, trainings, data, figures, code, environment, notes}`. Pure.

Called again and again while a run goes on, with all facts so far: the same facts always give the same record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from headway.capture import bindings, histories, loops, printed, scores, validations
from headway.capture.apart import Apart
from headway.capture.callers import Callers
from headway.capture.headlines import headlines
from headway.capture.literals import Literals
from headway.capture.merging import Candidate, as_metric, merged, named
from headway.capture.objects import checkpoint, files_of, graphs, named_models
from headway.capture.parameters import Parameters
from headway.capture.program import CELLS, MODULE, Place, Program
from headway.capture.reach import Reach
from headway.capture.results import Results
from headway.capture.running import without_sums
from headway.capture.variables import variables

__all__ = ["reduce"]

Record = dict[str, Any]


def reduce(facts: Iterable[dict[str, Any]]) -> Record:
    """The record of a run. `facts` are those of all its processes, each file in its own order."""
    return _Reduction(list(facts)).record()


class _Reduction:
    def __init__(self, facts: list[dict[str, Any]]) -> None:
        self.facts = _of_main(facts)
        self.program = Program()
        self.sites: dict[int, dict[str, Any]] = {f["s"]: f for f in self.facts if f["k"] == "site"}
        self.trainings: dict[int, dict[str, Any]] = {}
        self.by_object: dict[int, int] = {}
        self.latest: int | None = None
        self.rounds: dict[int, list[int]] = {}
        self.names: dict[tuple[str, str], dict[str, Any]] = {}
        self.ran: set[tuple[str, str]] = set()  # module, function
        self.cells: dict[int | None, int] = {}  # by the number a cell ran under: its place among the sources
        self.data: list[dict[str, Any]] = []
        self.figures: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.studies: list[dict[str, Any]] = []
        self.tables: list[dict[str, Any]] = []
        self.objects: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.main = next((str(f.get("main") or "") for f in self.facts if f["k"] == "start"), "")
        for fact in self.facts:
            if fact["k"] == "source":
                self.program.add(fact["file"], fact["text"], fact.get("cell"))
        self.results = Results(self.program, Callers(self.program, self.facts, self.sites))
        self.parameters = Parameters(self.program)

    def record(self) -> Record:
        for fact in self.facts:
            handler = getattr(self, f"_on_{fact['k']}", None)
            if handler is not None:
                handler(fact, self.sites.get(fact.get("s", -1), {}))
        self.parameters.tried()
        reach = Reach(self.program, self.ran, self.main)
        Literals(self.program, self.parameters, self.results.callers, reach).from_source(self.names)
        apart = Apart(self.trainings.values(), {site: int(t["id"]) for site, t in self.trainings.items()})
        headlines(self.results)
        metrics = named(merged(without_sums(self.results.found, self.program)), apart)
        self._attribute(metrics)
        return {
            "params": {p.name: {"value": p.value, "witnesses": p.witnesses} for p in self.parameters.found.values()},
            "metrics": {name: as_metric(group) for name, group in metrics.items()},
            "models": self._models(),
            "checkpoints": list(self.files.values()),
            "trainings": self._trainings(),
            "studies": self.studies,
            "tables": self.tables,
            "data": _unique(self.data),
            "figures": _unique(self.figures),
            "code": self._code(),
            "environment": self._environment(),
            "notes": self._notes(),
            "progress": next((_bare(f) for f in reversed(self.facts) if f["k"] == "progress"), None),
            "logged_here": any(f["k"] == "own" and f.get("ours") for f in self.facts),
            "ended": any(f["k"] == "end" for f in self.facts),
        }

    # -- facts

    def _on_start(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        self.parameters.command_line([str(w) for w in fact.get("argv") or ()])

    def _on_site(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        for file, function in ((fact["file"], fact["fn"]), *((up[0], up[2]) for up in fact.get("up") or ())):
            if file in self.program.sources:
                self.ran.add((self.program.sources[file].module, _function(function)))

    def _on_args(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        self.parameters.arguments(fact, site)

    def _on_call(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        self.parameters.call(fact, site)

    def _on_fit(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if not site:
            return
        if fact.get("failed"):
            self.notes.append(f"{fact['cls']}.fit raised {fact['failed']} ({_at(site)})")
            return
        self.parameters.fit(fact, site)
        if fact["type"] == "helper":
            return
        training = self._training(fact, site)
        scores.curves(self.results, fact, site, training)
        for name, values in scores.courses(self.results, fact):
            self.tables.append({"name": f"{fact['cls']} {name.strip('_')}", "file": site["file"], "line": site["at"][0],
                                "columns": ["iteration", "value"], "data": [[i, v] for i, v in enumerate(values)]})  # fmt: skip
        loops.points(self.results, fact, site, training)

    def _training(self, fact: dict[str, Any], site: dict[str, Any]) -> int:
        """The training a fit belongs to: fits at one line are one, a sweep when there are several."""
        key = fact["s"]
        known = self.trainings.get(key)
        if known is None:
            known = self.trainings[key] = {
                "id": len(self.trainings) + 1, "class": fact["cls"], "inner": fact.get("inner"), "type": fact["type"],
                "file": site["file"], "line": site["at"][0], "within": _function(site["fn"]),
                "fits": [], "started": fact["t"], "metrics": {},
            }  # fmt: skip
        search = fact.get("search") or {}
        if fact.get("parts") and known["fits"] and known["fits"][-1]["object"] == fact.get("id"):
            known["fits"].pop()  # the same model, fitted part by part
        known["fits"].append(
            {"class": fact["cls"], "inner": fact.get("inner"), "params": fact.get("params") or {}, "seconds": fact.get("seconds"),
             "found": fact.get("found") or {}, "loop": fact.get("n") or {}, "object": fact.get("id"), "t": fact["t"],
             "x": fact.get("x"), "best_params": search.get("best_params") or {}, "trials": search.get("table")}
        )  # fmt: skip
        if fact.get("id") is not None:
            self.by_object[fact["id"]] = known["id"]
        self.latest = int(known["id"])
        self.results.classes[self.latest] = self.results.classes[None] = str(known["inner"] or known["class"])
        return self.latest

    def _on_validate(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            self.parameters.fit(fact, site)
            validations.validation(
                self.results, fact, site, self._training(fact, site) if fact["fn"] != "cross_val_predict" else None
            )

    def _on_study(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            self.parameters.fit(
                {"k": "fit", "s": fact["s"], "cls": "study", "search": {"best_params": fact["best_params"]}}, site
            )
            for name in ("n_trials", "direction", "sampler", "pruner"):
                self.parameters.add(name, fact.get(name), "call", site["file"], site["at"][0], owner="study")
            scores.study(self.results, fact, site)
            self.studies.append(
                {"class": "Study", "file": site["file"], "line": site["at"][0], "pruned": fact.get("pruned", 0),
                 "trials": fact.get("table") or []}
            )  # fmt: skip
            table = fact.get("table") or []
            columns = list(dict.fromkeys(k for row in table for k in row))
            self.tables.append({"name": "trials", "file": site["file"], "line": site["at"][0], "columns": columns,
                                "data": [[row.get(c) for c in columns] for row in table]})  # fmt: skip

    def _on_optimizer(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            loops.optimizer(self.parameters, fact, site)

    def _on_loss(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            rounds = self.rounds.setdefault(fact["s"], [])
            if fact["r"] not in rounds:
                rounds.append(fact["r"])
            loops.losses(self.results, fact, site, rounds)

    def _on_round(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            scores.rounds(self.results, fact, site)

    def _on_own(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            scores.logged(self.results, fact, site)

    def _on_score(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            training = self.by_object.get(fact.get("of") or 0, self.latest)
            scores.score(self.results, fact, site, training)

    def _on_print(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            printed.printed(self.results, fact, site, None)

    _on_log = _on_bar = _on_print

    def _on_plot(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            validations.plotted(self.results, fact, site, None)

    def _on_names(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        cell = fact.get("cell")
        file = str(fact.get("file") or self.main)
        module = (
            self.program.sources[file].module if file in self.program.sources else CELLS if cell is not None else file
        )
        function = _function(fact["fn"])
        order = (self.cells.get(cell, cell or 0), 1_000_000_000 if function == MODULE else int(fact.get("line") or 0))
        place = Place(module, function, order)
        values = fact.get("values") or {}
        self.names.setdefault((module, function), {}).update(values)
        for name, told in values.items():
            if "o" in told:
                self._object(name, told["o"], file, fact["t"])
            elif "g" in told:
                for setting, held in told["g"].items():
                    self.parameters.add(setting, held, "names", file, 0, owner=str(told["c"]))
            else:
                histories.name(self.results, name, told, fact, place, file)

    def _place(self, fact: dict[str, Any]) -> Place:
        file = str(fact["file"])
        module = self.program.sources[file].module if file in self.program.sources else file
        return Place(module, _function(fact["fn"]), (1 << 30, 0))

    def _on_turns(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        histories.turns(self.results, fact, self._place(fact))

    def _on_returns(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        histories.returns(self.results, fact, self._place(fact))

    def _on_wrote(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        histories.written(self.results, fact)

    def _object(self, name: str, told: dict[str, Any], file: str, when: int) -> None:
        """An object that learns, of the user's classes or torch's."""
        cls = str(told["class"])
        if told["kind"]:
            self.objects[f"{name}:{cls}"] = {"name": name, "class": cls, "kind": told["kind"], "module": told["module"],
                                              "holds": bool(told.get("holds"))}  # fmt: skip
        constructor = self.program.classes.get(cls)
        known = set(constructor.parameters()) | set(constructor.defaults()) if constructor is not None else set()
        for attribute, value in (told.get("attrs") or {}).items():
            if attribute in known and "v" in value:
                self.parameters.add(attribute, value["v"], "names", file, 0, owner=cls)
            elif "l" in value:
                bindings.attribute(self.results, name, cls, attribute, value, file, when)
            else:
                histories.attribute(self.results, name, cls, attribute, value, file, when)

    def _on_cell(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if (
            fact.get("file") in self.program.sources
        ):  # IPython 9 counts a cell before it compiles it, earlier ones after it
            self.cells[fact["n"]] = self.program.sources[fact["file"]].index
        if fact.get("file") and "shown" in fact:
            printed.shown(self.results, fact["shown"], fact["file"], fact["t"], None)

    def _on_file(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        self.data.append({"kind": "file", "path": fact["path"], "size": fact["size"], "mtime": fact["mtime"]})

    def _on_folder(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        self.data.append({"kind": "folder", "path": fact["path"], "files": fact["files"]})

    def _on_data(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        where = {"file": site.get("file"), "line": (site.get("at") or [0])[0]}
        told = {"params": fact.get("params") or {}, "shape": fact.get("x") or {}}
        self.data.append({"kind": "call", "name": fact["fn"], "path": fact.get("path"), **told, **where})

    def _on_table(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        if site:
            call = self.program.call_at(site["file"], site["at"])
            loop = self.results.thing(call, fact.get("n") or {})
            name = f"{fact['name']} {loop}".strip()
            self.tables.append({"name": name, "file": site["file"], "line": site["at"][0], "columns": fact["columns"],
                                "data": fact["data"]})  # fmt: skip

    def _on_saved(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        checkpoint(self.files, fact, site)

    def _on_figure(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        self.figures.append({"path": fact["path"], "how": fact["how"], "file": site.get("file"), "cell": fact.get("cell"),
                             "name": fact.get("name"), "line": (site.get("at") or [0])[0]})  # fmt: skip

    # -- the record

    def _attribute(self, metrics: dict[str, list[Candidate]]) -> None:
        """Each training gets the metrics whose expressions read its model, or that came after its fit."""
        by_id = {t["id"]: t for t in self.trainings.values()}
        for name, group in metrics.items():
            training = next((c.training for c in group if c.training is not None), None)
            if training in by_id:
                by_id[training]["metrics"][name] = group[0].points[-1][1]

    def _models(self) -> list[dict[str, Any]]:
        saved = {f["id"]: f for f in self.facts if f["k"] == "model"}
        found: list[dict[str, Any]] = []
        own = {told["class"] for told in self.objects.values() if told["kind"] == "user"}
        trainings = [
            t for t in self.trainings.values() if t["within"].split(".")[0] not in own
        ]  # no parts of a user's own model
        predictors = [t for t in trainings if t["type"] == "predictor"] or [t for t in trainings if t["type"] != "loop"]
        for training in predictors:
            for fit in _last_of_class(training["fits"]):
                model = saved.get(fit["object"] or 0, {})
                same = [f for f in training["fits"] if (f["class"], f["inner"]) == (fit["class"], fit["inner"])]
                found.append(
                    {
                        "class": fit["class"],
                        "inner": model.get("inner") or fit["inner"],
                        "title": fit["inner"]
                        or model.get("inner")
                        or fit["class"],  # "Ridge" tells more than "Pipeline"
                        "configurations": _configurations(same),
                        "folder": model.get("folder"),
                        "files": files_of(self.files.values(), {f["object"] for f in same}),
                        "training": training["id"],
                        "file": training["file"],
                        "line": training["line"],
                    }
                )
        folders = {f["cls"]: f["folder"] for f in saved.values()}
        found += graphs(f for f in self.facts if f["k"] == "graph")
        return found + named_models(self.objects.values(), {m["class"] for m in found}, folders)

    def _trainings(self) -> list[dict[str, Any]]:
        found = []
        for training in self.trainings.values():
            fits = training["fits"]
            one = {k: training[k] for k in ("id", "class", "inner", "type", "file", "line", "started", "metrics")}
            one["params"] = fits[-1]["params"] if len(fits) == 1 else _common([f["params"] for f in fits])
            one["best_params"] = fits[-1]["best_params"]
            one["found"] = fits[-1]["found"]
            one["data"] = fits[0]["x"]
            one["seconds"] = round(sum(f["seconds"] or 0 for f in fits), 3)
            if fits[-1]["trials"]:
                one["trials"] = _rows(fits[-1]["trials"])
            if len(fits) > 1:
                one["sweep"] = [
                    {
                        "class": f["class"],
                        "params": _differing(f["params"], one["params"]),
                        "loop": f["loop"],
                        "seconds": f["seconds"],
                    }
                    for f in fits[:500]
                ]
            found.append(one)
        return found

    def _environment(self) -> dict[str, Any]:
        """Python, its packages, and the names of the environment variables that the code reads."""
        told: dict[str, Any] = next((_bare(f) for f in reversed(self.facts) if f["k"] == "env"), {})
        read = variables(self.program)
        return {**told, "variables": read} if read else told

    def _code(self) -> list[dict[str, Any]]:
        found = [
            {"file": s.file, "cell": s.index if s.module == CELLS else None, "text": s.text}
            for s in self.program.sources.values()
        ]
        cells = [f for f in self.facts if f["k"] == "cell" and not f.get("muted")]
        if cells:
            found = [c for c in found if c["cell"] is None]
            found += [
                {"file": f.get("file"), "cell": f["n"], "text": f.get("text", ""), "ok": f.get("ok")} for f in cells
            ]
        return found

    def _notes(self) -> list[str]:
        notes = list(self.notes)
        for fact in self.facts:
            if fact["k"] == "end" and fact.get("off"):
                notes += [f"The source «{name}» was switched off: {why}." for name, why in fact["off"].items()]
            if fact["k"] == "end" and fact.get("errors"):
                notes += [f"The source «{name}» missed something: {why}." for name, why in fact["errors"].items()]
            elif fact["k"] == "note":
                notes.append(f"A source could not be set up or failed: {fact['text']}.")
            elif fact["k"] == "unsaved":
                notes.append(f"The model {fact['cls']} was not saved: {fact['why']}.")
        return list(dict.fromkeys(notes))


def _of_main(facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The facts of the run's own process; of helpers it started only what they read, unless it did nothing itself."""
    roles = {f["_pid"]: f.get("role") for f in facts if f["k"] == "start" and "_pid" in f}
    main = [f for f in facts if roles.get(f.get("_pid"), "main") == "main"]
    telling = {"fit", "score", "validate", "round", "loss", "names", "print"}
    if any(f["k"] in telling for f in main):
        return main + [f for f in facts if f["k"] in ("file", "folder") and roles.get(f.get("_pid")) == "child"]
    counts = Counter(f.get("_pid") for f in facts if f["k"] in telling)
    return [f for f in facts if f.get("_pid") == counts.most_common(1)[0][0]] if counts else main


def _last_of_class(fits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of many fits at one line, the last of each class."""
    return list({(f["class"], f["inner"]): f for f in fits}.values())


def _rows(table: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """A search's columns as one row for each trial, with the names that one would give them."""
    names = {n: n.removeprefix("param_") for n in table}
    return [
        {names[n]: values[i] for n, values in table.items() if i < len(values)}
        for i in range(max(map(len, table.values()), default=0))
    ]


def _configurations(fits: list[dict[str, Any]]) -> int:
    """How many different models were trained: by data, by words among the parameters, by the name of what a loop or a
    function works on. Only other numbers make no other model: that is a sweep."""
    kinds = set()
    for fit in fits:  # folds differ in their rows alone
        known = fit["x"] or {}
        data = {k: v for k, v in known.items() if k not in ("rows", "shape")} | {"width": known.get("shape", [0])[1:]}
        words = sorted((k, str(v)) for k, v in {**fit["params"], **fit["loop"]}.items() if isinstance(v, (str, bool)))
        kinds.add(repr((words, data)))
    return len(kinds)


def _common(all_params: list[dict[str, Any]]) -> dict[str, Any]:
    first = all_params[0]
    return {k: v for k, v in first.items() if all(p.get(k, ...) == v for p in all_params)}


def _differing(params: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k not in common}


def _unique(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({repr(sorted(i.items(), key=lambda p: p[0])): i for i in items}.values())


def _bare(fact: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in fact.items() if k not in ("k", "t", "_pid")}


def _function(qualified: str) -> str:
    return qualified.replace(".<locals>", "")


def _at(site: dict[str, Any]) -> str:
    return f"{str(site.get('file', '')).rsplit('/', 1)[-1]}:{(site.get('at') or [0])[0]}"
