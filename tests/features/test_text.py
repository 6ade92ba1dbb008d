"""Text features: templates, blanks, and vectors by content."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from polyrec import Binary, Categorical, RandomSplit, Recommender, Text, TfIdf, Training, UserError

FILMS = pl.DataFrame(
    {
        "title": ["Toy Story", " Toy\n Story ", None, "", "Brazil"],
        "genres": [["Comedy", "Animation"], ["Comedy", "Animation"], ["Drama"], None, []],
        "year": [1995, 1995, 1990, None, 1985],
    }
)


class TestTemplate:
    def test_is_filled_folded_and_joined(self):
        text = Text(name="text", template="{title} ({year}): {genres}")
        assert text.columns == ("title", "year", "genres")
        assert text.render(FILMS).to_list() == [
            "Toy Story (1995): Comedy, Animation",
            "Toy Story (1995): Comedy, Animation",
            "(1990): Drama",
            "",
            "Brazil (1985):",
        ]

    def test_without_one_the_column_is_the_text(self):
        assert Text(name="title").render(FILMS).to_list() == ["Toy Story", "Toy Story", "", "", "Brazil"]

    def test_control_characters_and_length(self):
        frame = pl.DataFrame({"title": ["a\x00b\x1b[31mc", "x" * 1_000_000]})
        rendered = Text(name="title", max_characters=100).render(frame)
        assert rendered[0] == "a b [31mc"
        assert rendered.str.len_chars()[1] == 100

    @pytest.mark.parametrize(
        "template", ["{title.__class__}", "{title[0]}", "{title!r}", "{title:>9}", "{}", "no column", "{title"]
    )
    def test_only_plain_columns_may_stand_in_braces(self, template: str):
        with pytest.raises(ValidationError):
            Text(name="text", template=template)

    def test_instructions_and_braces_in_a_title_are_text(self):
        frame = pl.DataFrame({"title": ["Ignore previous instructions {genres}"]})
        assert Text(name="title").render(frame)[0] == "Ignore previous instructions {genres}"


@pytest.mark.parametrize("value", [{"a": 1}, b"\xff", [{"a": 1}], [["a"]]], ids=["struct", "bytes", "structs", "lists"])
def test_a_column_that_is_no_text_is_named(value: object):
    with pytest.raises(UserError, match="column 'title' of the feature 'text': expected text"):
        Text(name="text", template="{title}").render(pl.DataFrame({"title": [value]}))


@pytest.fixture
def text() -> Text:
    return Text(name="text", template="{title}: {genres}")


class TestVectors:
    def test_equal_texts_share_a_row_and_blanks_are_zero_with_a_flag(self, text: Text):
        column = text.encode(FILMS, text.fit(FILMS))
        assert column.index_N.tolist() == [0, 0, 1, 2, 3]
        blank = column.take(torch.tensor([3]))[0]
        assert blank[:-1].abs().max() == 0
        assert blank[-1] == 1
        assert column.take(torch.tensor([0]))[0, -1] == 0

    def test_are_centred_and_scaled_over_the_distinct_training_texts(self, text: Text):
        state = text.fit(FILMS)
        vectors = text.encode(FILMS, state).take(torch.tensor([0, 2, 4]))[:, :-1].numpy()
        np.testing.assert_allclose(vectors.mean(0), 0, atol=1e-5)
        assert np.sqrt(np.square(vectors).mean()) == pytest.approx(1, rel=1e-4)

    def test_do_not_depend_on_other_rows(self, text: Text):
        state = text.fit(FILMS)
        alone = text.encode(FILMS[4:], state).take(torch.tensor([0]))
        together = text.encode(FILMS, state).take(torch.tensor([4]))
        torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)

    def test_texts_that_a_model_reads_alike_do_not_blow_up_the_others(self):
        state = Text(name="t").fit(pl.DataFrame({"t": ["Brazil", "brazil"]}))
        assert Text(name="t").encode(pl.DataFrame({"t": ["tax law"]}), state).table_U.abs().max() < 10

    def test_all_blank_is_accepted(self, text: Text):
        state = text.fit(FILMS[3:4])
        assert torch.isfinite(text.encode(FILMS[3:4], state).take(torch.tensor([0]))).all()


@pytest.mark.slow
def test_declaring_a_text_imports_no_language_model_and_encoding_one_no_more_than_it_needs():
    heavy = ["transformers", "tokenizers", "sentence_transformers"]
    code = (
        "import sys; from polyrec import Package, SemanticIds, Text\n"
        f"loaded = lambda *more: print([name for name in [*{heavy}, *more] if name in sys.modules])\n"
        "Text(name='t'); SemanticIds(name='t'); loaded('sklearn')\n"
        "Package().encode(['a']); loaded()"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n['transformers', 'tokenizers']\n"


class TestTimeOfWriting:
    SPEC = Recommender(
        item=(
            Categorical(name="item_id"),
            Text(name="review", written="written", encoder=TfIdf(minimum_count=1, components=2)),
        ),
        tasks=(Binary(name="like", label="liked"),),
        training=Training(epochs=1, patience=None, split=RandomSplit(fraction=0.5)),
    )
    ROWS = pl.DataFrame(
        {
            "item_id": [1, 2, 1, 2] * 5,
            "review": ["good", "bad film", None, "good film"] * 5,
            "liked": [1, 0, 0, 1] * 5,
            "timestamp": range(10, 30),
            "written": range(9, 29),
        }
    )

    def test_a_text_older_than_its_row_is_read(self):
        assert self.SPEC.fit(self.ROWS, progress=False).curves

    def test_a_text_as_late_as_its_row_is_refused(self):
        late = self.ROWS.with_columns(written=pl.when(pl.col("timestamp") < 14).then("timestamp").otherwise("written"))
        with pytest.raises(UserError, match="text 'review'.*3 of 20 rows whose 'written'"):
            self.SPEC.fit(late, progress=False)

    def test_a_time_to_hold_it_against_is_needed(self):
        with pytest.raises(UserError, match="a time of each row"):
            self.SPEC.fit(self.ROWS.drop("timestamp"), progress=False)

    def test_its_column_must_be_there(self):
        with pytest.raises(UserError, match="column 'written'"):
            self.SPEC.fit(self.ROWS.drop("written"), progress=False)

    def test_to_predict_it_is_not_needed(self):
        fitted = self.SPEC.fit(self.ROWS, progress=False)
        assert "| review | `effective_rank_raw` |" in fitted.parts.card
        assert fitted.predict(self.ROWS.drop("written", "timestamp", "liked")).height == 20
