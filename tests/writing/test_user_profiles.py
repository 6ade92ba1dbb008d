"""Profiles of users by a real model: written from the past alone, before a cut-off that must be given."""

from datetime import date, datetime

import polars as pl
import pytest

from polyrec import (
    Binary,
    Categorical,
    LastSplit,
    RandomSplit,
    Recommender,
    Tables,
    TimeSplit,
    Training,
    UserError,
    UserProfiles,
)
from polyrec.writing.data_block import CLOSING, OPENING

RATINGS = pl.DataFrame(
    {
        "user_id": ["ann", "bob", "ann", "ann", "bob", "ann", "cy"],
        "item_id": [1, 2, 3, 4, 5, 6, 1],
        "rating": [5, 2, 1, 4, 3, 5, 4],
        "timestamp": [10, 11, 12, 13, 14, 20, 21],
        "age": [30, 40, 30, 30, 40, 30, 50],
    }
)
FILMS = pl.DataFrame({"item_id": range(1, 7), "title": ["Alien", "Babe", "Casino", "Dumbo", "Emma", "Fargo"]})
TABLES = Tables(RATINGS, items=FILMS)


@pytest.fixture(autouse=True)
def _private_journal(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path))


def profiles(url: str = "http://127.0.0.1:9/v1", **settings) -> UserProfiles:
    chat = {"url": url, "model": "smol", "max_tokens": 40, "retries": 0}
    answer = {"profile": {"type": "string", "maxLength": 30}}
    given = {"chat": chat, "item": "item_id", "history": ("title", "rating"), "answer": answer, "before": 20}
    return UserProfiles(**{**given, **settings})


def shown(spec: UserProfiles, data=TABLES, recommender: Recommender | None = None) -> dict[str, str]:
    """Return the data shown of each user."""
    subjects = spec.subjects(data, recommender)
    return {user: subjects.data(row) for row, user in enumerate(subjects.kept["user_id"])}


def recommender(split) -> Recommender:
    user, item = (Categorical(name="user_id"),), (Categorical(name="item_id"),)
    tasks = (Binary(name="like", label="rating >= 4"),)
    return Recommender(user=user, item=item, tasks=tasks, training=Training(split=split))


def test_are_written_by_the_model_and_joined_by_the_user(server):
    written = profiles(f"{server.front}/v1").write(TABLES, progress=False)
    assert written.table.schema == {"user_id": pl.String, "read_until": pl.Int64, "profile": pl.String}
    assert written.table["user_id"].to_list() == ["ann", "bob"]
    assert written.table["read_until"].to_list() == [13, 14]
    sent = {entry["body"]["messages"][1]["content"] for entry in server.log()}
    bob = f"{OPENING}\ntitle: Babe. rating: 2. \ntitle: Emma. rating: 3.\n{CLOSING}"
    assert bob in sent


class TestPast:
    def test_ends_strictly_before_the_cut_off(self):
        assert shown(profiles(before=13)) == {
            "ann": "title: Alien. rating: 5. \ntitle: Casino. rating: 1. \n",
            "bob": "title: Babe. rating: 2. \n",
        }

    def test_does_not_depend_on_rows_from_the_cut_off_on(self):
        changed = RATINGS.with_columns(rating=pl.when(pl.col("timestamp") >= 13).then(9).otherwise("rating"))
        assert shown(profiles(before=13), Tables(changed, items=FILMS)) == shown(profiles(before=13))
        assert "9" in str(shown(profiles(before=14), Tables(changed, items=FILMS)))

    def test_is_in_the_order_of_time_whatever_the_table_s(self):
        assert shown(profiles(), Tables(RATINGS[::-1], items=FILMS)) == shown(profiles())

    def test_is_the_latest_part(self):
        assert shown(profiles(length=1))["ann"] == "title: Dumbo. rating: 4. \n"

    def test_may_be_of_some_rows(self):
        assert shown(profiles(where="rating >= 4"))["ann"] == "title: Alien. rating: 5. \ntitle: Dumbo. rating: 4. \n"
        assert "bob" not in shown(profiles(where="rating >= 4"))

    @pytest.mark.parametrize("before", ["2020-01-13", date(2020, 1, 13), datetime(2020, 1, 13)])
    def test_ends_before_a_date(self, before):
        dated = RATINGS.with_columns(timestamp=pl.datetime(2020, 1, pl.col("timestamp")))
        assert shown(profiles(before=before), Tables(dated, items=FILMS)) == shown(profiles(before=13))

    def test_that_is_empty_is_told(self):
        with pytest.raises(UserError, match="expected rows before the cut-off, found none"):
            shown(profiles(before=1))


class TestCutOff:
    def test_is_needed(self):
        with pytest.raises(UserError, match="expected a cut-off in time, found none. Set `before`"):
            shown(profiles(before=None))

    def test_needs_a_time(self):
        with pytest.raises(UserError, match="expected a time column, found none"):
            shown(profiles(), Tables(RATINGS.drop("timestamp"), items=FILMS))

    def test_of_another_clock_than_the_column_s_is_refused(self):
        with pytest.raises(UserError, match="time column 'before': expected numbers"):
            shown(profiles(before="2020-01-13"))

    def test_is_that_of_a_recommender_s_split(self):
        assert shown(profiles(before=None), recommender=recommender(TimeSplit(fraction=0.25))) == shown(profiles())
        last = shown(profiles(before=None), recommender=recommender(LastSplit()))
        assert last["bob"] == "title: Babe. rating: 2. \n"
        assert "Fargo" not in last["ann"]

    def test_is_not_that_of_a_split_amid_the_rows(self):
        with pytest.raises(UserError, match="found RandomSplit.*, which holds out rows at any time"):
            shown(profiles(before=None), recommender=recommender(RandomSplit()))
        assert shown(profiles(), recommender=recommender(RandomSplit())) == shown(profiles())


class TestTemplate:
    def test_may_name_what_is_the_same_in_all_rows_of_a_user(self):
        spec = profiles(template="Age {{ age }}:{% for row in history %} {{ row.title }}{% endfor %}")
        assert shown(spec)["bob"] == "Age 40: Babe Emma"

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"template": "{{ rating }}"}, "found 'rating', of a label"),
            ({"template": "{{ histry }}"}, "Did you mean 'history'"),
            ({"template": "{{ item_id }}"}, "column 'item_id' in the template: expected one value for each 'user_id'"),
            (
                {"template": "{% for row in history %}{{ row.titel }}{% endfor %}"},
                "of a past row, found 'titel'. Did you mean 'title'",
            ),
            ({"history": ("title",), "template": "{% for row in history %}{{ row.rating }}{% endfor %}"}, "found 'rating'"),
            ({"history": ("titel",)}, "expected a column 'titel'"),
        ],
    )
    def test_that_does_not_fit_is_refused_before_anything_is_sent(self, settings: dict, message: str):
        with pytest.raises(UserError, match=message):
            profiles(labels=("rating >= 4",), **settings).estimate(TABLES)

    def test_shows_labels_of_the_past_only_where_they_are_listed(self):
        assert "rating" not in str(shown(profiles(history=("title",)), recommender=recommender(LastSplit())))
        assert "rating: 5" in str(shown(profiles(), recommender=recommender(LastSplit())))
