"""Choice: one of several values."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import Field, model_validator

from polyrec.ranges.range import Range, Sampler


class Choice(Range):
    """One of several values without an order: names of kinds, whole specs as mappings, lists of widths, true and false.

    Before there are trials to learn from, each of n options has the probability `1 / n` (random search; Bergstra and Bengio,
    JMLR 2012). A bare name of a kind is that kind with its own defaults, not as it is declared; write a mapping to say more.
    The search sees each value's JSON text, so that a study's records say what was tried whatever the value is.
    """

    examples = ({"options": ["adam", "adagrad"]}, {"options": [{"kind": "MMoE", "experts": 4}, "SharedBottom"]})

    options: tuple[Any, ...] = Field(min_length=2)
    """The values, as they would stand in YAML."""

    @model_validator(mode="after")
    def _tellable_apart(self) -> Self:
        labels = self.labels
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"the option {label} is given twice")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The options as text: strings as they are, everything else as JSON."""
        return tuple(option if isinstance(option, str) else json.dumps(option, sort_keys=True) for option in self.options)

    def suggest(self, name: str, sampler: Sampler) -> Any:
        return self.options[self.labels.index(sampler.suggest_categorical(name, self.labels))]

    def ends(self) -> tuple[Any, ...]:
        return self.options
