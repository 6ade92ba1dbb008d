"""The files of a search: the best declaration, all trials, plots and a page."""

from __future__ import annotations

import json
from pathlib import Path

from polyrec.core.files import write_text
from polyrec.recommender import Recommender
from polyrec.report.page import Section, Table, write_page
from polyrec.report.tuning_plots import front_panels, history, slices
from polyrec.tune.outcome import Tuned, show
from polyrec.tune.trial import apply


def write(out: Path, spec: Recommender, tuned: Tuned) -> None:
    """Write best.yaml, trials.json and tuning.html; with several objectives also front.svg and front.png."""
    apply(spec, tuned.best.parameters).to_yaml(out / "best.yaml")
    document = {**tuned.to_dict(), "all": [trial.to_dict(tuned.objectives) for trial in tuned.trials]}
    write_text(out / "trials.json", json.dumps(document, indent=1, ensure_ascii=False))
    sections = [*_front(out, tuned), *_histories(tuned), *_slices(tuned), _table(tuned)]
    counts = ", ".join(f"{tuned.count(state)} {state}" for state in ("complete", "pruned", "failed", "interrupted"))
    lead = (
        f"{len(tuned.trials)} trials: {counts}. best.yaml has the settings of trial {tuned.best.number}. All figures are from "
        "the validation rows that selected it, and the more trials there are, the more optimistic they are: evaluate the "
        "recommender that is fitted from best.yaml on unused rows."
    )
    write_page(out / "tuning.html", "Search", lead, sections)


def _front(out: Path, tuned: Tuned) -> list[Section]:
    if len(tuned.objectives) == 1:
        return []
    values = [trial.values for trial in tuned.complete if trial.values is not None]
    front = {trial.number for trial in tuned.front}
    svg = front_panels(
        [objective.name for objective in tuned.objectives],
        [objective.higher_is_better for objective in tuned.objectives],
        values,
        [trial.number in front for trial in tuned.complete],
        [trial.number for trial in tuned.complete],
        tuned.complete.index(tuned.best),
        None if tuned.declared is None else tuned.complete.index(tuned.declared),
        out / "front.png",
    )
    write_text(out / "front.svg", svg)
    text = (
        "The coloured trials are the Pareto front: no other trial is better in every objective. The star marks the trial "
        "nearest to the best value of each objective, with distances in units of the front's range. Another trial of the front "
        "may suit you better; its settings are listed below."
    )
    return [Section("Trade-off between the objectives", text, svg)]


def _histories(tuned: Tuned) -> list[Section]:
    sections = []
    for position, objective in enumerate(tuned.objectives):
        points = [(trial.number, trial.values[position]) for trial in tuned.complete if trial.values is not None]
        pruned = [(t.number, t.curve[-1]) for t in tuned.trials if t.state == "pruned" and t.curve]
        svg = history(objective.name, objective.higher_is_better, points, pruned)
        sections.append(Section(f"{objective.name} by trial", "The line is the best value so far.", svg))
    return sections


def _slices(tuned: Tuned) -> list[Section]:
    sections = []
    paths = dict.fromkeys(path for trial in tuned.complete for path in trial.parameters)
    for position, objective in enumerate(tuned.objectives):
        panels = {}
        for path in paths:
            trials = [trial for trial in tuned.complete if path in trial.parameters]
            settings = [trial.parameters[path] for trial in trials]
            is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in settings)
            values = [trial.values[position] for trial in trials if trial.values is not None]
            best = next((place for place, trial in enumerate(trials) if trial is tuned.best), None)
            panels[path] = (settings if is_number else [show(value) for value in settings], values, best)
        if panels:
            text = "One panel per setting, one point per complete trial, the best one marked. The other settings vary too."
            sections.append(Section(f"{objective.name} by setting", text, slices(objective.name, panels)))
    return sections


def _table(tuned: Tuned) -> Section:
    paths = list(dict.fromkeys(path for trial in tuned.trials for path in trial.parameters))
    header = ["trial", *(objective.name for objective in tuned.objectives), "epoch", "seconds", *paths]
    rows = [
        [
            f"{trial.number} {tuned.mark(trial)}".strip(),
            *(f"{value:.4f}" for value in trial.values or ()),
            str(trial.best_epoch),
            f"{trial.seconds:.1f}",
            *(show(trial.parameters[path]) if path in trial.parameters else "" for path in paths),
        ]
        for trial in tuned.ranked()
    ]
    return Section("Complete trials", "", "", [Table(header, rows)])
