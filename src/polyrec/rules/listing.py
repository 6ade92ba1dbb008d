"""Apply rules: from candidates to the list that is shown. Shape letters: N candidates, K items of the list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrec.core.errors import UserError
from polyrec.rules.candidates import Candidates, Listed
from polyrec.rules.rule import Rule, Turn, check_columns, check_rules


def apply_rules(rules: Sequence[Rule], candidates: Candidates, k: int, seed: int = 0) -> Listed:
    """Return the list of at most `k` items that rules build from candidates; it is shorter if they leave fewer.

    The same seed gives the same list. Raises `UserError` if a rule names a column that the catalogue lacks, or needs vectors
    that the candidates lack.
    """
    if k < 1:
        raise UserError("k", expected="a number of items, 1 or more", found=f"{k}", remedy="Request at least one.")
    assert (np.diff(candidates.scores_N) <= 0).all(), "candidates come best first"
    check_rules(rules)
    check_columns(rules, candidates.items)
    for rule in rules:
        keep_N = rule.keep(candidates)
        candidates = candidates if keep_N is None else candidates.where(keep_N)
    pins, notes = _pinned(rules, candidates, k)
    turns = [(rule, turn) for rule in rules if (turn := rule.begin(candidates)) is not None]
    chance = next((turn for rule, turn in turns if rule.explores), None)
    places, propensities = _filled(candidates, [turn for _, turn in turns], chance, pins, k, seed)
    return Listed(candidates.rows_N[places], candidates.scores_N[places], np.array(propensities, dtype=np.float64), notes)


def kept(rules: Sequence[Rule], candidates: Candidates) -> np.ndarray:
    """Return a mask (N,) of the candidates that rules allow in a list; a search can skip the others before scoring."""
    keep_N = np.ones(len(candidates), dtype=bool)
    for mask_N in (rule.keep(candidates) for rule in rules):
        keep_N &= True if mask_N is None else mask_N
    return keep_N


def _pinned(rules: Sequence[Rule], candidates: Candidates, k: int) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return the places of pinned candidates by position, in order, and notes on pins that are no candidates."""
    declared = sorted((position, key) for rule in rules for position, key in rule.pins.items() if position <= k)
    if not declared:
        return {}, ()
    pins, notes = {}, []
    for (position, key), place in zip(declared, candidates.places([key for _, key in declared]), strict=True):
        if place is None:
            notes.append(f"item {key!r}, pinned to position {position}, is not among the candidates")
        else:
            pins[position] = place
    return pins, tuple(notes)


def _filled(
    candidates: Candidates, turns: Sequence[Turn], chance: Turn | None, pins: dict[int, int], k: int, seed: int
) -> tuple[list[int], list[float]]:
    """Fill the positions from the top; return the places of the listed candidates and their propensities."""
    open_N = np.ones(len(candidates), dtype=bool)
    places: list[int] = []
    propensities: list[float] = []

    def take(place: int) -> None:
        open_N[place] = False
        for turn in turns:
            if closed := turn.took(place):
                open_N[closed] = False

    for place in pins.values():
        take(place)
    draws = np.random.default_rng(seed).random(k).tolist() if chance is not None else [0.0] * k
    for position, draw in enumerate(draws, 1):
        place, propensity = pins.pop(position, -1), 1.0
        if place < 0:
            if not open_N.any():
                break
            place, propensity = _chosen(candidates.scores_N, open_N, turns, chance, draw)
            take(place)
        places.append(place)
        propensities.append(propensity)
    moved_up = list(pins.values())[: k - len(places)]
    return [*places, *moved_up], [*propensities, *(1.0 for _ in moved_up)]


def _chosen(
    scores_N: np.ndarray, open_N: np.ndarray, turns: Sequence[Turn], chance: Turn | None, draw: float
) -> tuple[int, float]:
    """Return the place of the candidate for the next position and its propensity."""
    value_N = scores_N
    for turn in turns:
        value_N = turn.score(value_N)
    if chance is None:
        return int(open_N.argmax() if value_N is scores_N else np.where(open_N, value_N, -np.inf).argmax()), 1.0
    places = np.flatnonzero(open_N)
    if value_N is not scores_N:
        places = places[np.argsort(-value_N[places], kind="stable")]
    odds = chance.odds(value_N[places])
    cumulative = odds.cumsum()
    chosen = min(int(cumulative.searchsorted(draw * cumulative[-1], side="right")), int(np.flatnonzero(odds)[-1]))
    return int(places[chosen]), float(odds[chosen])
