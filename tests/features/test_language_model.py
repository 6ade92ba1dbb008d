"""A language model as a feature, and as the network that all tasks share."""

import copy

import polars as pl
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

import polyrec
from polyrec import (
    Binary,
    Categorical,
    Fitted,
    History,
    HuggingFace,
    Joint,
    LanguageModel,
    LastLayers,
    LoRA,
    MMoE,
    Numeric,
    Package,
    PCGrad,
    Recommender,
    Regression,
    SharedBottom,
    Text,
    Training,
    UserError,
)
from polyrec.core.batch import Bag, Repeated
from polyrec.language.encoder import TextEncoder
from polyrec.language.tuning.tunable import TunableTransformer
from polyrec.predict.rows import prepare_rows

ROWS = 48


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def reviews() -> pl.DataFrame:
    """Short reviews, some of them more than once and some empty, that say what was thought of a thing."""
    things = ["dress", "skirt", "jacket", "blouse", "pair of jeans"]
    row = pl.int_range(ROWS, eager=True)
    rows = pl.DataFrame({"timestamp": row, "user": row % 4, "good": row % 3 != 0, "thing": [things[n % 5] for n in row]})
    opinion = pl.when("good").then(pl.lit("I love this ")).otherwise(pl.lit("I returned this "))
    return rows.with_columns(
        text=pl.when(pl.col("timestamp") % 16 != 15).then(opinion + pl.col("thing")),
        stars=pl.when("good").then(5.0).otherwise(2.0),
    )


def recommender(**changes) -> Recommender:
    feature = LanguageModel(name="text", width=16, tuning=LoRA(rank=4, dropout=0.1, layers=1), learning_rate=1e-3)
    return Recommender(
        features=changes.pop("features", (feature,)),
        tasks=(Binary(name="like", label="good", tower=(8,)), Regression(name="stars", label="stars", tower=(8,))),
        network=changes.pop("network", SharedBottom(hidden=(16,))),
        training=Training(epochs=3, batch_size=16, learning_rate=0.01, patience=None),
        **changes,
    )


@pytest.fixture(scope="module")
def fitted(reviews: pl.DataFrame) -> Fitted:
    return recommender().fit(reviews, reviews, progress=False)


class TestTraining:
    def test_moves_the_language_model_and_lowers_the_losses_of_all_tasks(self, fitted: Fitted):
        learned = [weight for name, weight in fitted.model.named_parameters() if "lora_B" in name]
        assert len(learned) == 6
        assert all(weight.abs().max() > 0 for weight in learned)
        assert all(fitted.curves[-1][f"{task}.loss"] < fitted.curves[0][f"{task}.loss"] for task in ("like", "stars"))

    def test_takes_steps_of_the_size_declared(self, reviews: pl.DataFrame):
        """With Adam the first step of a weight is its step size: B, which starts at zero, then holds no more than that."""
        still = recommender().features[0].replace(learning_rate=1e-7)
        training = Training(epochs=1, batch_size=ROWS, learning_rate=0.01, schedule="linear", warmup=0.0)
        model = recommender(features=(still,)).fit(reviews, reviews, training, progress=False).model
        steps = [weight.abs().max().item() for name, weight in model.named_parameters() if "lora_B" in name]
        assert max(steps) == pytest.approx(1e-7, rel=0.01)

    def test_goes_through_gradient_balancers_and_experts_beside_other_features(self, reviews: pl.DataFrame):
        features = (*recommender().features, Numeric(name="timestamp", width=4))
        declared = recommender(features=features, network=MMoE(experts=2, hidden=(8,)), balancing=PCGrad())
        fitted = declared.fit(reviews, reviews, progress=False)
        assert all(weight.abs().max() > 0 for name, weight in fitted.model.named_parameters() if "lora_B" in name)

    def test_in_lower_precision_stays_near(self, reviews: pl.DataFrame, fitted: Fitted):
        spec = recommender()
        lower = spec.fit(reviews, reviews, spec.training.replace(precision="bfloat16"), progress=False)
        losses = [(curve["like.loss"], common["like.loss"]) for curve, common in zip(lower.curves, fitted.curves, strict=True)]
        assert all(low == pytest.approx(full, rel=0.05) for low, full in losses)

    def test_resumed_ends_as_uninterrupted(self, reviews: pl.DataFrame, fitted: Fitted, tmp_path):
        def stop(epoch, entry):
            if epoch == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            recommender().fit(reviews, reviews, checkpoint=tmp_path / "c", progress=False, on_epoch=stop)
        resumed = recommender().fit(reviews, reviews, checkpoint=tmp_path / "c", resume=True, progress=False)
        for name, weight in fitted.model.state_dict().items():
            assert torch.equal(weight, resumed.model.state_dict()[name]), name
        held = load_file(tmp_path / "c" / "selection" / "model.safetensors")
        assert sum(weight.numel() for weight in held.values()) < 50_000


class TestArtifact:
    def test_predicts_as_before_it_was_saved(self, reviews: pl.DataFrame, fitted: Fitted, tmp_path):
        loaded = polyrec.load(fitted.save(tmp_path / "artifact"))
        assert loaded.predict(reviews).equals(fitted.predict(reviews))

    def test_holds_what_was_learned_and_not_the_model_below(self, fitted: Fitted, tmp_path):
        weights = load_file(fitted.save(tmp_path / "artifact") / "weights.safetensors")
        assert sum(weight.numel() for weight in weights.values()) < 50_000

    def test_wants_the_model_that_it_was_trained_on(self, fitted: Fitted, tmp_path):
        folder = fitted.save(tmp_path / "artifact")
        other = _other_model(tmp_path / "other")
        spec = fitted.spec.replace(features=(fitted.spec.features[0].replace(encoder=HuggingFace(model=str(other))),))
        state = fitted.parts.feature_states["text"]
        with pytest.raises(UserError, match="language model of the feature 'text': expected the model that it was trained on"):
            spec.features[0].build(state)
        assert folder.is_dir()

    def test_is_not_exported_to_other_runtimes(self, fitted: Fitted, tmp_path):
        with pytest.raises(UserError, match="export to torch of the feature 'text'"):
            fitted.export(tmp_path / "model.pt2", "torch")


def _other_model(folder):
    """Save MiniLM with one weight changed."""
    loaded = Package().loaded()
    model = copy.deepcopy(loaded.model)
    with torch.no_grad():
        next(iter(model.parameters()))[0, 0] += 0.001
    model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


class TestBatch:
    def test_holds_each_distinct_text_once(self, reviews: pl.DataFrame):
        feature = recommender().features[0]
        column = feature.encode(reviews, feature.fit(reviews))
        taken = column.take(torch.arange(ROWS))
        assert isinstance(taken, Repeated) and isinstance(taken.elements, Bag)
        assert len(taken.elements.offsets_B) == reviews["text"].n_unique()
        assert len(column.take(torch.tensor([0, 15, 0])).elements.offsets_B) == 2

    def test_in_pieces_gives_the_vectors_of_the_whole(self, reviews: pl.DataFrame, fitted: Fitted):
        batch = prepare_rows(fitted.catalogue, reviews).batch(torch.arange(ROWS))
        with torch.no_grad():
            whole = fitted.model.encode(batch)
            pieces = torch.cat([fitted.model.encode(piece) for piece in batch.split(7)])
        torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=1e-5)

    def test_of_a_table_prepared_on_disk_trains_alike(self, reviews: pl.DataFrame, fitted: Fitted, tmp_path):
        reviews.write_parquet(tmp_path / "reviews.parquet")
        recommender().prepare(tmp_path / "reviews.parquet", tmp_path / "reviews.parquet")
        again = recommender().fit(tmp_path / "reviews.parquet", tmp_path / "reviews.parquet", progress=False)
        assert again.predict(reviews).equals(fitted.predict(reviews))


def test_a_text_that_is_empty_has_a_vector_that_no_model_made(reviews: pl.DataFrame, fitted: Fitted):
    prepared = prepare_rows(fitted.catalogue, reviews[[15, 31, 0]])
    with torch.no_grad():
        empty, other, full = fitted.model.encode(prepared.batch(torch.arange(3)))
    encoder = fitted.model.copies[0].encoders["text"]
    assert torch.equal(empty, other) and not torch.allclose(empty, full)
    torch.testing.assert_close(empty, encoder.linear.weight[:, -1] + encoder.linear.bias)


def test_before_training_the_inputs_of_the_linear_layer_are_those_of_a_text(reviews: pl.DataFrame):
    """Below 256 distinct texts both are centred and scaled over all of them."""
    tuned, text = recommender().features[0], Text(name="text", width=16)
    states = tuned.fit(reviews), text.fit(reviews)
    theirs = text.encode(reviews, states[1]).take(torch.arange(ROWS))
    encoder = tuned.build(states[0]).eval()
    with torch.no_grad():
        encoder.linear.weight.copy_(torch.eye(385)[:16])
        encoder.linear.bias.zero_()
        ours = encoder(tuned.encode(reviews, states[0]).take(torch.arange(ROWS)))
    torch.testing.assert_close(ours, theirs[:, :16], atol=1e-4, rtol=1e-4)


def test_the_share_of_texts_that_are_cut_is_told():
    feature = LanguageModel(name="text", encoder=Package(max_length=8))
    texts = ["short", "also short", "this one has far more than eight tokens in it, as anyone can see", None]
    assert feature.fit(pl.DataFrame({"text": texts}))["truncated"][0] == pytest.approx(1 / 3)


def test_a_history_of_texts_reads_each_of_them_once(reviews: pl.DataFrame, monkeypatch):
    declared = Recommender(
        user=(Categorical(name="user", width=4), History(name="written", of="text", length=8, width=16)),
        item=(Categorical(name="thing", width=4), *recommender().features),
        tasks=recommender().tasks,
        network=SharedBottom(hidden=(8,)),
        training=Training(epochs=1, batch_size=16),
    )
    fitted = declared.fit(reviews, reviews, progress=False)
    seen: list[int] = []
    forward = TunableTransformer.forward
    monkeypatch.setattr(TunableTransformer, "forward", lambda self, texts: seen.append(len(texts)) or forward(self, texts))
    fitted.predict(reviews)
    assert max(seen) <= reviews["text"].n_unique()
    assert len(fitted.recommend(3, user=1, exclude_seen=False)) == 3


def test_a_text_written_with_its_label_is_refused(reviews: pl.DataFrame):
    late = recommender().features[0].replace(written="timestamp")
    with pytest.raises(UserError, match="text 'text': expected texts written before the time of their row"):
        recommender(features=(late,)).fit(reviews, reviews, progress=False)


def test_joined_to_an_id_both_are_learned(reviews: pl.DataFrame):
    declared = Recommender(
        item=(
            Categorical(name="thing", width=8),
            recommender().features[0],
            Joint(name="both", id="thing", content="text", width=16),
        ),
        tasks=recommender().tasks,
        network=SharedBottom(hidden=(8,)),
        training=Training(epochs=1, batch_size=16),
    )
    fitted = declared.fit(reviews, reviews, progress=False)
    assert all(weight.abs().max() > 0 for name, weight in fitted.model.named_parameters() if "lora_B" in name)


def test_an_encoder_without_weights_at_hand_is_refused():
    class _Elsewhere(TextEncoder):
        examples = ({},)

    with pytest.raises(ValidationError, match="Elsewhere cannot be tuned"):
        LanguageModel(name="text", encoder=_Elsewhere.model_construct())


def test_it_reads_from_yaml_as_it_was_written():
    feature = LanguageModel(name="text", template="{title}", tuning=LastLayers(count=2), checkpointing=True)
    declared = recommender(features=(feature,))
    assert Recommender.from_yaml(declared.to_yaml()) == declared
