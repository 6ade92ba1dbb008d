"""Semantic ids as a feature: numbers of levels, twins, prefixes, figures, and their place in a history."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

from polyrec import Binary, Categorical, History, Recommender, SemanticIds, Training, load
from polyrec.cli.app import app
from polyrec.core.files import read_parquet, write_parquet
from polyrec.features.semantic_ids import CodesEncoder

FILMS = pl.DataFrame(
    {
        "item_id": [3, 1, 2, 4, 5, 6],
        "title": ["Alien", "Aliens", "Alien", "", "Emma", None],
    }
)


@pytest.fixture(scope="module")
def keyed() -> SemanticIds:
    return SemanticIds(name="ids", template="{title}", levels=2, codes=2, key="item_id", width=4)


def numbers(feature: SemanticIds, values: pl.DataFrame, state: pl.DataFrame) -> list[list[int]]:
    return feature.encode(values, state).take(torch.arange(len(values))).tolist()


class TestNumbers:
    def test_of_alike_films_agree_and_of_blanks_are_zero(self):
        feature = SemanticIds(name="ids", template="{title}", levels=2, codes=2)
        found = numbers(feature, FILMS, feature.fit(FILMS))
        assert found[0] == found[2]
        assert found[0][0] == found[1][0] != found[4][0]
        assert found[3] == found[5] == [0, 0]
        assert min(min(own) for place, own in enumerate(found) if place not in (3, 5)) == 1

    def test_are_one_above_the_codes_of_the_codebooks(self):
        feature = SemanticIds(name="title", codes=8, levels=2)
        state = feature.fit(FILMS)
        assert feature.sizes(state) == (4, 2)  # three distinct titles, which one level tells without remainder

    def test_with_a_key_tell_items_of_the_same_codes_apart_by_the_order_of_their_keys(self, keyed: SemanticIds):
        state = keyed.fit(FILMS)
        last = dict(zip(FILMS["item_id"], (own[-1] for own in numbers(keyed, FILMS, state)), strict=True))
        assert (last[2], last[3]) == (1, 2)
        assert (last[4], last[6]) == (1, 2)
        assert keyed.sizes(state)[-1] == 3
        assert len({tuple(own) for own in numbers(keyed, FILMS, state)}) == len(FILMS)

    def test_of_an_item_never_met_are_the_nearest_codes_and_the_first_twin(self, keyed: SemanticIds):
        state = keyed.fit(FILMS)
        (new,) = numbers(keyed, pl.DataFrame({"item_id": [99], "title": ["Alien"]}), state)
        known = numbers(keyed, FILMS, state)
        assert new == known[2]

    def test_do_not_depend_on_what_was_told_of_an_item_afterwards(self, keyed: SemanticIds):
        twice = pl.concat([FILMS, FILMS.with_columns(pl.col("item_id").cast(pl.Int64))])
        assert numbers(keyed, FILMS, keyed.fit(twice)) == numbers(keyed, FILMS, keyed.fit(FILMS))

    def test_a_key_that_is_read_as_text_is_refused(self):
        with pytest.raises(ValidationError, match="also reads the key 'item_id' as text"):
            SemanticIds(name="ids", template="{item_id} {title}", key="item_id")

    def test_a_template_without_a_column_is_refused_beside_a_key(self):
        with pytest.raises(ValidationError, match="names no column"):
            SemanticIds(name="ids", template="film", key="item_id")


class TestEncoder:
    def test_sums_a_row_for_each_level(self):
        encoder = CodesEncoder((4, 3), 2, None)
        with torch.no_grad():
            encoder.table.weight.copy_(torch.arange(14.0).reshape(7, 2))
        found = encoder(torch.tensor([[0, 0], [3, 2]]))
        assert found.tolist() == [[0 + 8, 1 + 9], [6 + 12, 7 + 13]]

    def test_numbers_every_path_by_itself_where_there_are_rows_for_all(self):
        encoder = CodesEncoder((4, 3, 2), 2, 24)
        paths = torch.cartesian_prod(torch.arange(4), torch.arange(3), torch.arange(2))
        rows = encoder.numbered(paths)
        assert encoder.rows == [4, 12, 24]
        assert sorted(rows[:, 2].tolist()) == list(range(16, 40))
        assert rows[:, 1].unique().tolist() == list(range(4, 16))
        assert torch.equal(rows[:, 0], paths[:, 0])

    @pytest.mark.parametrize("size", [64, 257])
    def test_spreads_paths_over_the_rows_where_there_are_fewer(self, size: int):
        encoder = CodesEncoder((size, size, size), 2, 1024)
        paths = torch.stack([torch.arange(size).repeat_interleave(size), torch.arange(size).repeat(size)], 1)
        paths = torch.cat([paths, paths[:, :1]], 1)
        counts = torch.bincount(encoder.numbered(paths)[:, 2] - size - 1024, minlength=1024)
        assert len(counts) == 1024
        expected = len(paths) / 1024
        assert counts.max() < expected + 8 * expected**0.5
        assert (counts == 0).float().mean() <= 1.5 * np.exp(-expected) + 0.05

    def test_a_level_means_something_else_below_another_code_with_prefixes_only(self):
        numbers = torch.tensor([[1, 2], [3, 2]])
        alone, below = CodesEncoder((4, 3), 2, None), CodesEncoder((4, 3), 2, 100)
        assert alone.numbered(numbers)[:, 1].unique().numel() == 1
        assert below.numbered(numbers)[:, 1].unique().numel() == 2


class TestFigures:
    def test_are_those_of_the_distinct_training_texts(self, keyed: SemanticIds):
        told = keyed.describe(keyed.fit(FILMS))
        assert told["texts"] == 3
        assert told["items_told_apart"] == 2
        assert [level["used"] for level in told["levels"]] == [2, 2]
        assert told["levels"][0]["unexplained"] > told["levels"][1]["unexplained"]
        assert json.loads(json.dumps(told, allow_nan=False)) == told

    def test_survive_parquet_also_where_there_is_no_text(self, keyed: SemanticIds, tmp_path):
        for name, table in (("some", FILMS), ("none", FILMS.with_columns(title=pl.lit(None, pl.String)))):
            state = keyed.fit(table)
            write_parquet(tmp_path / name, state)
            again = read_parquet(tmp_path / name)
            assert keyed.describe(again) == keyed.describe(state)
            assert numbers(keyed, FILMS, again) == numbers(keyed, FILMS, state)
        assert keyed.describe(again)["texts"] == 0


def test_a_history_of_semantic_ids_is_learned_saved_and_asked_for_items_never_met(world: pl.DataFrame, tmp_path):
    names = ["quiet", "loud", "long", "short", "old", "new"]
    titled = world.head(1500).with_columns(
        title=pl.col("item_id").map_elements(lambda own: f"{names[own % 6]} film {own % 5}", return_dtype=pl.String)
    )
    recommender = Recommender(
        user=(Categorical(name="user_id", width=4), History(name="seen", of="ids", length=5, width=4)),
        item=(
            Categorical(name="item_id", width=4),
            SemanticIds(name="ids", template="{title}", levels=2, codes=8, prefix_rows=20, key="item_id", width=4),
        ),
        tasks=(Binary(name="like", label="rating >= 4", tower=(4,)),),
        training=Training(epochs=1, batch_size=256),
    )
    fitted = recommender.fit(titled, progress=False)
    table = next(own for own in fitted.model.tables_by_rows() if own.weight.shape[1] == 4 and len(own.weight) < 60)
    before = CodesEncoder((table.weight.shape[0],), 4, None).table.weight.std()
    assert table.weight.std() > before
    unseen = titled.tail(3).with_columns(item_id=pl.lit(9999, pl.Int64), title=pl.lit("a quiet film"))
    found = fitted.predict(unseen)
    assert found["like"].is_finite().all()
    fitted.save(tmp_path / "artifact")
    assert load(tmp_path / "artifact").predict(unseen).equals(found)
    told = json.loads(polyrec_describe(tmp_path / "artifact", "--json"))["features"]["ids"]
    ids = recommender.item[1]
    assert isinstance(ids, SemanticIds)
    assert told == ids.describe(fitted.parts.feature_states["ids"])
    assert [len(own) for own in (told["levels"], ids.sizes(fitted.parts.feature_states["ids"]))] == [2, 3]
    assert "ids: levels" in polyrec_describe(tmp_path / "artifact")


def polyrec_describe(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["describe", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout
