"""The cross-fitted reward model against scikit-learn; no user's rows affect their predictions."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

from polyrec import UserError
from polyrec.evaluate.off_policy.reward_model import FOLDS, PENALTY, cross_fit


def drawn(rows: int = 300, users: int = 40) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "rank": generator.integers(0, 2, size=rows),
            "price": generator.normal(size=rows),
            "genre": generator.choice(["war", "drama"], size=rows),
        }
    )
    reward = frame["price"].to_numpy() + (frame["genre"] == "war").to_numpy() + 0.1 * generator.normal(size=rows)
    return frame, reward, generator.integers(users, size=rows)


def test_equals_ridge_regression_on_the_other_folds():
    frame, reward, cluster = drawn()
    shown, of_candidates = cross_fit(frame, frame, reward, cluster, cluster, ("price", "genre"))
    np.testing.assert_allclose(shown, of_candidates)
    price = (frame["price"] - frame["price"].mean()) / pl.concat([frame, frame])["price"].std()
    flags = [frame[name] == value for name, values in (("rank", (0, 1)), ("genre", ("war", "drama"))) for value in values]
    design = np.column_stack([price, *flags]).astype(float)
    fold = (np.random.default_rng(0).permutation(cluster.max() + 1) % FOLDS)[cluster]
    for number in range(FOLDS):
        model = Ridge(alpha=PENALTY).fit(design[fold != number], reward[fold != number])
        np.testing.assert_allclose(shown[fold == number], model.predict(design[fold == number]), atol=1e-9)


def test_a_users_rewards_do_not_change_what_is_said_of_the_user():
    frame, reward, cluster = drawn()
    changed = np.where(cluster == 7, 100.0, reward)
    before, after = (cross_fit(frame, frame, y, cluster, cluster, ("price",))[0] for y in (reward, changed))
    np.testing.assert_allclose(before[cluster == 7], after[cluster == 7], rtol=1e-9)
    assert np.abs(before - after).max() > 0.1


def test_nulls_are_at_the_mean_or_of_no_value():
    frame, reward, cluster = drawn()
    holes = frame.with_columns(price=pl.when(pl.int_range(pl.len()) > 2).then("price"), genre=pl.lit(None, pl.String))
    shown, _ = cross_fit(holes, holes, reward, cluster, cluster, ("price", "genre"))
    assert np.isfinite(shown).all()


def test_too_many_values_are_refused():
    frame, reward, cluster = drawn(3000)
    wide = frame.with_columns(genre=pl.int_range(pl.len()).cast(pl.String))
    with pytest.raises(UserError, match="expected at most 2000 columns of the design matrix, found 300"):
        cross_fit(wide, wide, reward, cluster, cluster, ("genre",))
