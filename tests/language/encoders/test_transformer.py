"""What all transformers among the encoders share: equal to sentence-transformers in whatever a model says of itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from polyrec import HuggingFace, Package, UserError
from polyrec.language.models.loaded import describe, load
from polyrec.language.models.source import folder_hash

TEXTS = [
    "Toy Story. Animation, Children's, Comedy",
    "a",
    "The Good, the Bad and the Ugly " * 5,
    "🎬 西遊記 فيلم",
    "REAR Window",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the packaged model whose statements may be changed."""
    return Path(shutil.copytree(Package().folder(), tmp_path / "model"))


@pytest.fixture(autouse=True)
def _read_anew() -> None:
    """Forget models of earlier tests, whose folders are gone."""
    load.cache_clear()


def state(folder: Path, file: str, **changes: Any) -> None:
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    before = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**before, **changes}))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def reference(folder: Path, **options: Any) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS, show_progress_bar=False, **options)


def encoded(folder: Path, **fields: Any) -> np.ndarray:
    return HuggingFace(model=str(folder), **fields).encode(TEXTS)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("weightedmean", "weighted_mean"), ("max", "max"), ("cls", "cls"), ("lasttoken", "last")]
)
def test_poolings_equal_sentence_transformers(folder: Path, theirs: str, ours: str):
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 384, "pooling_mode": theirs}))
    expected = reference(folder)
    np.testing.assert_allclose(encoded(folder), expected, atol=1e-5)
    np.testing.assert_allclose(encoded(folder, pooling=ours), expected, atol=1e-5)
    assert np.abs(expected - Package().encode(TEXTS)).max() > 0.01


class TestPrompts:
    def test_the_models_own_default_is_used_until_another_is_given(self, folder: Path):
        state(
            folder,
            "config_sentence_transformers.json",
            prompts={"query": "find: ", "passage": "film: "},
            default_prompt_name="passage",
        )
        np.testing.assert_allclose(encoded(folder), reference(folder), atol=1e-5)
        np.testing.assert_allclose(encoded(folder), encoded(folder, prompt="film: "), atol=1e-6)
        np.testing.assert_allclose(encoded(folder, prompt=""), Package().encode(TEXTS), atol=1e-6)
        assert np.abs(encoded(folder) - encoded(folder, prompt="")).max() > 0.01

    @pytest.mark.parametrize("pooling", ["mean", "weightedmean", "cls"])
    def test_are_left_out_of_the_pooling_where_the_model_says_so(self, folder: Path, pooling: str):
        pooled = {"word_embedding_dimension": 384, "pooling_mode": pooling}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({**pooled, "include_prompt": False}))
        with_it = reference(folder, prompt="film and series: ")
        np.testing.assert_allclose(encoded(folder, prompt="film and series: "), with_it, atol=1e-5)
        assert np.abs(with_it - Package(prompt="film and series: ").encode(TEXTS)).max() > 0.01

    def test_that_leave_no_room_are_refused(self):
        with pytest.raises(UserError, match="a prompt that leaves room for text within 8 tokens, found a prompt of 9 tokens"):
            Package(prompt="one two three four five six seven", max_length=8).encode(["a"])

    def test_are_no_text(self):
        assert not Package(prompt="film: ").encode(["", " \n"]).any()


def test_texts_are_put_in_lower_case_where_the_model_says_so(folder: Path):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    state(folder, "tokenizer_config.json", do_lower_case=False)
    cased = encoded(folder)
    state(folder, "sentence_bert_config.json", do_lower_case=True)
    describe.cache_clear()
    np.testing.assert_allclose(encoded(folder), Package().encode(TEXTS), atol=1e-5)
    assert np.abs(encoded(folder) - cased).max() > 0.01


class TestLinearLayers:
    def add(self, folder: Path, activation: str, bias: bool = True, suffix: str = "safetensors", **further: Any) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
        modules.insert(2, dense)
        modules[3] |= {"idx": 3, "name": "3", "path": "3_Normalize"}
        (folder / "3_Normalize").mkdir()
        (folder / "modules.json").write_text(json.dumps(modules))
        state(
            folder,
            "2_Dense/config.json",
            in_features=384,
            out_features=16,
            bias=bias,
            activation_function=activation,
            **further,
        )
        torch.manual_seed(0)
        weights = {"linear.weight": torch.randn(16, 384)} | ({"linear.bias": torch.randn(16)} if bias else {})
        if suffix == "safetensors":
            save_file(weights, folder / "2_Dense" / "model.safetensors")
        else:
            torch.save(weights, folder / "2_Dense" / "pytorch_model.bin")

    @pytest.mark.parametrize(
        ("activation", "bias", "suffix"), [("activation.Tanh", True, "safetensors"), ("linear.Identity", False, "bin")]
    )
    def test_equal_sentence_transformers(self, folder: Path, activation: str, bias: bool, suffix: str):
        self.add(folder, f"torch.nn.modules.{activation}", bias, suffix)
        vectors = encoded(folder)
        assert vectors.shape == (5, 16)
        np.testing.assert_allclose(vectors, reference(folder), atol=1e-5)
        encoder = HuggingFace(model=str(folder))
        assert encoder.identity()["width"] == encoder.loaded().width == 16

    def test_that_import_code_or_do_something_else_are_refused(self, folder: Path):
        self.add(folder, "os.system")
        with pytest.raises(UserError, match=r"expected W x \+ b under one of .*Tanh"):
            encoded(folder)
        state(folder, "2_Dense/config.json", activation_function="torch.nn.modules.activation.Tanh", use_residual=True)
        with pytest.raises(UserError, match=r"expected W x \+ b"):
            encoded(folder)

    def test_without_fitting_weights_are_refused(self, folder: Path):
        self.add(folder, "torch.nn.modules.activation.Tanh")
        save_file({"linear.weight": torch.randn(16, 384)}, folder / "2_Dense" / "model.safetensors")
        with pytest.raises(UserError, match="expected the weights that its configuration states"):
            encoded(folder)
        (folder / "2_Dense" / "model.safetensors").unlink()
        with pytest.raises(UserError, match=r"expected its weights in model\.safetensors"):
            encoded(folder)


class TestDimensions:
    def test_are_the_first_ones_normalised_anew(self):
        whole, short = Package().encode(TEXTS), Package(dimensions=64).encode(TEXTS)
        expected = whole[:, :64] / np.linalg.norm(whole[:, :64], axis=1, keepdims=True)
        np.testing.assert_allclose(short, expected, atol=1e-6)
        np.testing.assert_allclose(short, reference(Package().folder(), truncate_dim=64, normalize_embeddings=True), atol=1e-5)

    def test_of_a_model_that_does_not_normalise_are_left_as_they_are(self, folder: Path):
        modules = json.loads((folder / "modules.json").read_text())
        (folder / "modules.json").write_text(json.dumps(modules[:2]))
        np.testing.assert_allclose(encoded(folder, dimensions=64), encoded(folder)[:, :64], atol=1e-6)
        assert np.linalg.norm(encoded(folder), axis=1).min() > 1.5

    def test_more_than_there_are_are_refused(self):
        with pytest.raises(UserError, match="`dimensions` of at most 384, the width of its vectors, found 385"):
            Package(dimensions=385).encode(["a"])


class TestLength:
    def test_the_texts_that_are_cut_are_told(self):
        texts = ["one two three", "one two three four", "", "a " * 300]
        assert Package(max_length=5).truncated(texts).tolist() == [False, True, False, True]
        assert Package(prompt="a ", max_length=5).truncated(texts).tolist() == [True, True, False, True]
        assert Package().truncated(texts).tolist() == [False, False, False, True]
        assert Package().truncated([]).tolist() == []

    def test_positions_that_begin_behind_the_padding_are_counted_so(self, folder: Path, tmp_path: Path):
        import transformers

        torch.manual_seed(0)
        config = transformers.RobertaConfig(
            vocab_size=30522, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=18, pad_token_id=1,
        )  # fmt: skip
        transformers.RobertaModel(config).save_pretrained(tmp_path / "roberta")
        for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(folder / file, tmp_path / "roberta" / file)
        encoder = HuggingFace(model=str(tmp_path / "roberta"))
        assert encoder.encode(["one " * 99]).shape == (1, 16)
        assert encoder.identity()["max_length"] == 16
        with pytest.raises(UserError, match="`max_length` of at most 16 tokens"):
            encoder.replace(max_length=17).encode(["a"])


class TestIdentity:
    def test_of_a_setting_that_changes_nothing_is_the_same(self):
        written_out = Package(pooling="mean", max_length=256, dimensions=384, prompt="", batch_tokens=7)
        assert written_out.identity() == Package().identity()
        folder = Package().folder()
        assert HuggingFace(model=str(folder)).identity() == Package().identity()

    @pytest.mark.parametrize(
        "change",
        [{"pooling": "cls"}, {"prompt": "a: "}, {"max_length": 8}, {"dimensions": 8}],
        ids=lambda change: next(iter(change)),
    )
    def test_of_a_setting_that_changes_vectors_is_another(self, change: dict[str, Any]):
        assert Package(**change).identity() != Package().identity()

    @pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
    def test_of_other_content_is_another(self, folder: Path, file: str):
        before = HuggingFace(model=str(folder)).identity()
        with (folder / file).open("ab") as changed:
            changed.write(b" ")
        folder_hash.cache_clear()
        assert HuggingFace(model=str(folder)).identity() != before


class TestTexts:
    def test_half_a_pair_of_surrogates_is_refused_with_its_place(self):
        with pytest.raises(
            UserError, match=r"text 2 of 2: expected text that UTF-8 can encode, found the lone surrogate '\\ud83c' at"
        ):
            Package().encode(["a", "film \ud83c"])

    @pytest.mark.parametrize("text", [None, 3, b"bytes"])
    def test_what_is_no_text_is_refused(self, text: Any):
        with pytest.raises(UserError, match="text 1 of 1: expected a string"):
            Package().encode([text])

    def test_of_any_length_and_kind_have_finite_vectors(self):
        vectors = Package().encode(["\x00", "\u200b", "a" * 1_000_000, "\n", "﷽" * 100, "e\u0301"])
        assert np.isfinite(vectors).all()
        assert not vectors[3].any()


def test_progress_counts_every_text():
    done: list[int] = []
    Package().encode([*TEXTS, "", " "], done.append)
    assert sum(done) == 7
