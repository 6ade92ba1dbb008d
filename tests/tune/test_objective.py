"""What a search may be judged by, for tasks of every kind."""

import pytest

from polyrec import Binary, Categorical, Recommender, Retrieval, UserError
from polyrec.tune.objective import judged_by, read_objectives

SPEC = Recommender(
    user=(Categorical(name="user_id"),),
    item=(Categorical(name="item_id"),),
    tasks=(
        Binary(name="click", label="clicked"),
        Binary(name="buy", label="bought", after="click"),
        Retrieval(name="met", label="clicked"),
    ),
)


def test_a_task_after_others_is_judged_by_space():
    (objective,) = read_objectives(SPEC, ["buy.log_loss_given_click"])
    assert not objective.higher_is_better
    with pytest.raises(UserError, match="buy.auc_all_rows"):
        read_objectives(SPEC, ["buy.auc"])


def test_rankings_of_the_catalogue_are_not_told_by_validation():
    with pytest.raises(UserError, match="none of that name"):
        read_objectives(SPEC, ["met.recall@10"])


def test_objectives_are_watched_without_a_part_in_the_utility():
    objectives = read_objectives(SPEC, ["utility", "click.ece"])
    judged = judged_by(SPEC, objectives)
    assert judged.training.utility == SPEC.training.utility
    assert judged.training.watch == ("click.ece",)
