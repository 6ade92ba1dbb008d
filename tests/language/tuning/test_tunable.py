"""A transformer in two parts, learned in part: its vectors, gradients and weights against plain torch and transformers."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import polyrec.language.tuning.lower_states as lower_states
from polyrec import Frozen, LastLayers, LoRA, Package, UserError
from polyrec.language.models.layers_apart import LowerLayers, UpperLayers, check_apart, padded
from polyrec.language.tuning.tunable import TOKENS, TunableTransformer, micro_batches
from polyrec.language.tuning.tuning import Tuning

TEXTS = ("a red dress", "it runs small, order a size up", "love", "the fabric is thin and see-through, the cut good", "love it")


@pytest.fixture(autouse=True)
def _private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def loaded() -> Any:
    return Package().loaded()


@pytest.fixture(scope="module")
def texts(loaded: Any) -> list[Tensor]:
    return [torch.tensor(ids, dtype=torch.int32) for ids in loaded.tokenizer(list(TEXTS))["input_ids"]]


def tunable(loaded: Any, tuning: Tuning, **options) -> TunableTransformer:
    torch.manual_seed(0)
    return TunableTransformer(loaded, tuning, **options)


def gradients(reader: TunableTransformer, texts: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a loss of the vectors, and its gradients, with the dropout of one seed."""
    torch.manual_seed(1)
    vectors = reader(texts)
    weight = torch.linspace(-1, 1, vectors.shape[1])
    loss = (vectors @ weight).square().sum()
    loss.backward()
    return loss.detach(), {name: weight.grad for name, weight in reader.named_parameters()}


TUNINGS = [Frozen(), LoRA(), LoRA(layers=2), LastLayers(count=1), LastLayers(count=6)]


@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: f"{type(tuning).__name__}{tuning.changed(6)}")
def test_before_training_the_vectors_are_those_of_the_frozen_encoder(loaded: Any, texts: list[Tensor], tuning: Tuning):
    reader = tunable(loaded, tuning).eval()
    with torch.no_grad():
        vectors = reader(texts).numpy()
    np.testing.assert_allclose(vectors, Package().encode(TEXTS), atol=1e-5)


def test_a_lora_of_layers_and_one_of_all_learn_so_many_matrices(loaded: Any):
    some, every = tunable(loaded, LoRA(rank=3, layers=2)), tunable(loaded, LoRA(rank=3))
    assert len(some.learned) == 2 * 6 * 2
    assert len(every.learned) == 6 * 6 * 2
    assert {3} == {min(weight.shape) for weight in every.parameters()}


def test_gradients_of_all_layers_are_those_of_plain_torch(loaded: Any, texts: list[Tensor]):
    reader = tunable(loaded, LastLayers(count=6)).eval()
    loss, ours = gradients(reader, texts)
    plain = copy.deepcopy(loaded.model)
    tokens, mask = padded(texts, 0)
    states = plain(input_ids=tokens, attention_mask=mask).last_hidden_state
    pooled = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    vectors = nn.functional.normalize(pooled, dim=1)
    expected = (vectors @ torch.linspace(-1, 1, vectors.shape[1])).square().sum()
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-6)
    for name, gradient in ours.items():
        theirs = plain.get_parameter(name.replace("/", ".")).grad
        torch.testing.assert_close(gradient, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tuning", [LoRA(layers=2, dropout=0.2), LastLayers(count=2)], ids=["lora", "layers"])
def test_kept_states_give_the_loss_and_gradients_of_computed_ones(loaded: Any, texts: list[Tensor], tuning: Tuning):
    """The uncached path: the same learned layers of a model that is read through, from the embeddings on, at every step."""
    kept = tunable(loaded, tuning)
    first = gradients(kept, texts)
    kept.zero_grad()
    again = gradients(kept, texts)
    through = tunable(loaded, tuning)
    below = LowerLayers(loaded.model, 4)
    through._states = None
    read = through._read
    through._read = lambda tokens, mask, given: read(tokens, mask, below(tokens, mask))
    uncached = gradients(through, texts)
    for loss, actual in (again, uncached):
        torch.testing.assert_close(loss, first[0], rtol=1e-5, atol=1e-6)
        for name, gradient in first[1].items():
            torch.testing.assert_close(actual[name], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tuning", [LoRA(dropout=0.3), LastLayers(count=2)], ids=["lora", "layers"])
def test_checkpointing_changes_no_gradient(loaded: Any, texts: list[Tensor], tuning: Tuning):
    plain, saving = tunable(loaded, tuning), tunable(loaded, tuning, checkpointing=True)
    (loss, expected), (same, actual) = gradients(plain, texts), gradients(saving, texts)
    assert torch.equal(loss, same)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name])


def test_the_shared_model_is_never_changed(loaded: Any, texts: list[Tensor]):
    before = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    reader = tunable(loaded, LastLayers(count=1))
    gradients(reader, texts)
    torch.optim.SGD(reader.parameters(), 0.1).step()
    assert all(torch.equal(weight, before[name]) for name, weight in loaded.model.state_dict().items())
    assert not loaded.model.training
    np.testing.assert_allclose(tunable(loaded, Frozen())(texts).numpy(), Package().encode(TEXTS), atol=1e-5)


def test_frozen_weights_are_shared_and_are_in_no_state(loaded: Any):
    reader = tunable(loaded, LoRA(layers=1))
    assert all("lora" in name for name in reader.state_dict())
    embedding = reader._above.model.get_input_embeddings().weight
    assert embedding.data_ptr() == loaded.model.get_input_embeddings().weight.data_ptr()


def test_a_copy_learns_apart(loaded: Any, texts: list[Tensor]):
    first = tunable(loaded, LastLayers(count=1)).eval()
    second = copy.deepcopy(first)
    with torch.no_grad():
        for weight in second.parameters():
            weight.mul_(0.5)
        assert not torch.allclose(first(texts), second(texts))
        np.testing.assert_allclose(first(texts).numpy(), Package().encode(TEXTS), atol=1e-5)


def test_a_second_reading_computes_no_lower_layer(loaded: Any, texts: list[Tensor]):
    first = tunable(loaded, LoRA(layers=1))(texts)
    second = tunable(loaded, LoRA(layers=1))
    second._below = None
    torch.testing.assert_close(second(texts), first)


def test_the_file_of_states_holds_no_more_than_its_limit(loaded: Any, texts: list[Tensor], monkeypatch):
    monkeypatch.setattr(lower_states, "LIMIT", 400_000)
    reader = tunable(loaded, LoRA(layers=1)).eval()
    expected = reader(texts)
    for start in range(40):
        reader([torch.arange(start, start + 60, dtype=torch.int32)])
    assert lower_states.states_path().stat().st_size < 900_000
    torch.testing.assert_close(reader(texts), expected)


def test_states_that_were_altered_are_computed_anew(loaded: Any, texts: list[Tensor]):
    import sqlite3

    reader = tunable(loaded, LoRA(layers=1)).eval()
    expected = reader(texts)
    with sqlite3.connect(lower_states.states_path()) as database:
        database.execute("UPDATE states SET states = CAST(X'00000000' || SUBSTR(states, 5) AS BLOB)")
    database.close()
    torch.testing.assert_close(reader(texts), expected)


def test_half_precision_is_the_same_whether_kept_or_not(loaded: Any, texts: list[Tensor]):
    reader = tunable(loaded, LoRA(layers=1), half=True).eval()
    assert torch.equal(reader(texts), reader(texts))
    torch.testing.assert_close(reader(texts), tunable(loaded, LoRA(layers=1)).eval()(texts), atol=2e-3, rtol=0)


class TestOtherModels:
    """Random small models of other architectures, as transformers builds them."""

    @pytest.mark.parametrize("kind", ["GPT2", "Llama", "Gemma3", "Qwen3", "DistilBert", "Roberta"])
    def test_are_read_in_two_parts_as_whole(self, kind: str):
        model = _small(kind)
        tokens, mask = padded([torch.tensor([3, 4, 5, 6]), torch.tensor([7, 8])], 0)
        lower, upper = LowerLayers(model, 2), UpperLayers(model, 2)
        upper.model.eval()
        with torch.no_grad():
            whole = model(input_ids=tokens, attention_mask=mask).last_hidden_state
            apart = upper(tokens, mask, lower(tokens, mask))
        torch.testing.assert_close(apart[mask.bool()], whole[mask.bool()], atol=1e-5, rtol=1e-5)
        check_apart(model, 2)

    def test_padding_changes_no_vector_of_a_causal_one(self, loaded: Any):
        model = _small("Llama")
        reader = TunableTransformer(_as_loaded(model, loaded), LastLayers(count=1)).eval()
        texts = [torch.tensor([3, 4, 5, 6, 9, 9, 2]), torch.tensor([7, 8])]
        with torch.no_grad():
            together, alone = reader(texts), torch.cat([reader([text]) for text in texts])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)

    def test_whose_layers_do_not_hand_on_their_states_are_refused(self, loaded: Any):
        model = _small("Albert")
        with pytest.raises(UserError, match="layers in one list"):
            TunableTransformer(_as_loaded(model, loaded), LastLayers(count=1))


@pytest.mark.parametrize("tuning", [LastLayers(count=7), LoRA(layers=7)], ids=["layers", "lora"])
def test_more_layers_than_there_are_are_refused(loaded: Any, tuning: Tuning):
    with pytest.raises(UserError, match="at most 6, the layers of the model, found 7"):
        tunable(loaded, tuning)


def test_micro_batches_hold_every_text_once_and_tokens_up_to_the_budget():
    lengths = [5, 3000, 2, 900, 900, 7, 2500, 1, 5000]
    batches = micro_batches(lengths)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= TOKENS for batch in batches)


def _as_loaded(model, loaded: Any) -> Any:
    return loaded._replace(model=model, width=32, positions=64, max_length=64, pooling="last", normalise=False)


def _small(kind: str):
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    more = {
        "GPT2": {"n_layer": 4, "n_embd": 32, "n_head": 4, "vocab_size": 50, "n_positions": 64},
        "DistilBert": {"n_layers": 4, "dim": 32, "n_heads": 4, "hidden_dim": 64, "vocab_size": 50},
        "Llama": {**sizes, "num_key_value_heads": 2},
        "Gemma3": {**sizes, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 2, "layer_types": LAYER_TYPES},
        "Qwen3": {**sizes, "num_key_value_heads": 2, "head_dim": 8},
        "Albert": {**sizes, "embedding_size": 16},
    }
    name = "Gemma3Text" if kind == "Gemma3" else kind
    config = getattr(transformers, f"{name}Config")(**more.get(kind, sizes))
    return getattr(transformers, f"{name}Model")(config).eval()


LAYER_TYPES = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
