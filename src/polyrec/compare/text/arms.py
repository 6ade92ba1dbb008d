"""The arms of a text report: a declaration without its texts, with only its texts, and with wrong texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from polyrec.core.errors import UserError
from polyrec.features.categorical import Categorical
from polyrec.features.feature import Feature
from polyrec.features.history import History
from polyrec.features.joint import Joint
from polyrec.features.text import Text
from polyrec.language.encoder import TextEncoder
from polyrec.language.encoders.random_vectors import RandomVectors
from polyrec.language.encoders.shuffled import Shuffled
from polyrec.language.encoders.tf_idf import TfIdf
from polyrec.recommender import Recommender

WITHOUT, ALONE, WHOLE = "without text", "text alone", "as declared"
TF_IDF, SHUFFLED, RANDOM = "TF-IDF", "shuffled text", "random vectors"

_NEVER = 2**31
"""A minimum count that no value reaches: all ids are then read as unseen."""


def text_arms(spec: Recommender) -> dict[str, Recommender]:
    """Return the declarations to compare, by name; impossible variants are omitted.

    `without text` has neither texts nor joints with texts. In `text alone`, every id on the side of a text is read as unseen.
    In the remaining arms, TF-IDF, shuffled or random vectors replace the encoder of each text.
    """
    if not any(isinstance(feature, Text) for feature in spec.all_features):
        remedy = "Declare a Text feature, such as Text(name='title')."
        raise UserError("a text report", expected="a declaration with a Text", found="none", remedy=remedy)
    arms: dict[str, Recommender | None] = {
        WITHOUT: _if_valid(lambda: _without(spec)),
        ALONE: _if_valid(lambda: _alone(spec)),
        WHOLE: spec,
        TF_IDF: _encoded(spec, lambda encoder: TfIdf()),
        SHUFFLED: _encoded(spec, lambda encoder: Shuffled(encoder=encoder)),
        RANDOM: _encoded(spec, lambda encoder: RandomVectors()),
    }
    if all(isinstance(feature.encoder, TfIdf) for feature in spec.all_features if isinstance(feature, Text)):
        del arms[TF_IDF]
    valid = {name: arm for name, arm in arms.items() if arm is not None}
    return {name: arm for name, arm in valid.items() if name == WHOLE or arm != spec}


def _if_valid(make: Callable[[], Recommender]) -> Recommender | None:
    """Return a declaration, or None if too few features remain."""
    try:
        return make()
    except (ValidationError, ValueError):
        return None


def _without(spec: Recommender) -> Recommender:
    texts = {feature.name for feature in spec.all_features if isinstance(feature, Text)}
    joints = {joint.name: joint.id for joint in spec.all_features if isinstance(joint, Joint) and joint.content in texts}
    removed = texts | joints.keys()

    def kept(feature: Feature) -> Feature:
        return feature.replace(of=joints.get(feature.of, feature.of)) if isinstance(feature, History) else feature

    def named(names: tuple[str, ...]) -> tuple[str, ...]:
        renamed = (joints.get(name, name) for name in names)
        return tuple(dict.fromkeys(name for name in renamed if name not in removed))

    changes: dict[str, Any] = {
        side: tuple(kept(feature) for feature in getattr(spec, side) if feature.name not in removed)
        for side in ("user", "item", "features")
    }
    changes["tasks"] = tuple(
        task.replace(inputs=named(task.inputs)) if isinstance(task.inputs, tuple) else task for task in spec.tasks
    )
    adapters = spec.network.adapters
    if adapters is not None:
        inputs = named(adapters.features)
        changes["network"] = spec.network.replace(adapters=adapters.replace(features=inputs) if inputs else None)
    return spec.replace(**changes)


def _alone(spec: Recommender) -> Recommender:
    """Return the declaration in which ids on the side of a text are read as unseen."""
    ids = _keys(spec)
    changes: dict[str, tuple[Feature, ...]] = {}
    for side in ("user", "item", "features"):
        features: tuple[Feature, ...] = getattr(spec, side)
        if any(isinstance(feature, Text) for feature in features):
            changes[side] = tuple(
                feature.replace(minimum_count=_NEVER) if isinstance(feature, Categorical) and feature.name in ids else feature
                for feature in features
            )
    return spec.replace(**changes)


def _keys(spec: Recommender) -> set[str]:
    """Return the names of the ids of users, of items and of joints."""
    joined = {feature.id for feature in spec.all_features if isinstance(feature, Joint)}
    columns = {spec.key(spec.user), spec.key(spec.item)}
    ids = (feature for feature in spec.all_features if isinstance(feature, Categorical) and feature.columns[0] in columns)
    return joined | {feature.name for feature in ids}


def _encoded(spec: Recommender, change: Callable[[TextEncoder], TextEncoder]) -> Recommender:
    """Return the declaration with changed encoders in its texts."""
    sides: Mapping[str, tuple[Feature, ...]] = {side: getattr(spec, side) for side in ("user", "item", "features")}
    return spec.replace(
        **{
            side: tuple(
                feature.replace(encoder=change(feature.encoder)) if isinstance(feature, Text) else feature
                for feature in features
            )
            for side, features in sides.items()
        }
    )
