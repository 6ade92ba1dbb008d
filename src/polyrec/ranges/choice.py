"""Choice: one of several values."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import Field, model_validator

from polyrec.ranges.range import Range, Sampler


class Choice(Range):
    """One of several unordered values: names of kinds, complete specs as mappings, lists of widths, true and false.

    Before any trial is available, each of n options has the probability `1 / n` (random search; Bergstra and Bengio, JMLR
    2012). The bare name of a kind means its defaults, not the declared settings; write a mapping to specify more. The search
    uses the JSON text of each value, so that the records of a study are readable for values of any type.
    """

    examples = ({"options": ["adam", "adagrad"]}, {"options": [{"kind": "MMoE", "experts": 4}, "SharedBottom"]})

    options: tuple[Any, ...] = Field(min_length=2)
    """Values, written as in YAML."""

    @model_validator(mode="after")
    def _tellable_apart(self) -> Self:
        labels = self.labels
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"the option {label} occurs twice")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """Options as text: strings unchanged, everything else as JSON."""
        return tuple(option if isinstance(option, str) else json.dumps(option, sort_keys=True) for option in self.options)

    def suggest(self, name: str, sampler: Sampler) -> Any:
        return self.options[self.labels.index(sampler.suggest_categorical(name, self.labels))]

    def ends(self) -> tuple[Any, ...]:
        return self.options
