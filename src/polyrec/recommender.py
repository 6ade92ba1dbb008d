"""`Recommender` and `Fitted`: the two classes that users hold. Nothing below imports this file.

Shape letters: N rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
import torch
from pydantic import model_validator

from polyrec.artifact import folder as artifact
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.declaration.checks import check_declaration
from polyrec.declaration.declaration import Declaration
from polyrec.declaration.training import Training
from polyrec.evaluate.evaluation import Evaluation
from polyrec.evaluate.judging import judge
from polyrec.export.inputs import NEW_ITEM, flatten
from polyrec.export.obstacles import refuse_obstacles
from polyrec.export.write import export
from polyrec.fit.fit import fit
from polyrec.fit.fusion_search import FusionSearch
from polyrec.fit.search_fusion import search_fusion
from polyrec.predict.outputs import lifts_new_items
from polyrec.predict.predictor import Predictor
from polyrec.predict.recommend import ListRequest, recommendation
from polyrec.predict.rows import prepare_rows, read_rows
from polyrec.predict.users import request_columns
from polyrec.predict.weights import weights_of
from polyrec.prepare.stages import Stages
from polyrec.ranges.uniform import Uniform
from polyrec.rules.rule import Rule
from polyrec.train.loop import OnEpoch


class Recommender(Declaration):
    """The declaration of a model: features, tasks, a shared network and a fusion. `fit` returns a `Fitted`.

    A recommender of items for users has `user` and `item` features; the first id feature (Categorical, Hashed, Streamed) of
    each side is its key, and `features` describe the interaction (an hour, a device). For rows without users and items (a
    loan, a patient), all features are in `features`.
    """

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_declaration(self)
        return self

    def fit(
        self,
        data: Source | Tables,
        validation: Source | None = None,
        training: Training | None = None,
        *,
        start: Predictor | None = None,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
        on_epoch: OnEpoch | None = None,
    ) -> Fitted:
        """Fit the model to a table and return a `Fitted`, which predicts, recommends, explains and can be saved.

        `data` is a path, a glob, a frame, a `Query`, or `Tables` with side tables. Without `validation` rows,
        `training.split` takes them from `data`. With a `checkpoint` folder, training can be resumed after an interruption and
        ends with the same weights as without one; the caller removes the folder. `on_epoch` receives the number of each epoch
        and its training losses and validation metrics; an exception that it raises ends the training.

        With a `start`, an earlier fit of the same features, network and tasks, training continues from its weights. `data` is
        then the extended table, with the earlier and later rows. Vocabularies are rebuilt from it: known ids keep their
        embedding rows, and new ids start with the row of unknown ids. Scales, edges, classes and transformations of text
        vectors do not change. Pass `validation` rows that the start has not seen: a split draws some that it was trained on,
        which biases the metrics upwards.

        Raises `UserError` if the data does not match the declaration, or the declaration does not match the start.
        """
        predictor = fit(
            self,
            data,
            validation,
            training or self.training,
            start=start,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            resume=resume,
            progress=progress,
            on_epoch=on_epoch,
        )
        return Fitted(predictor.parts, predictor.model)

    def prepare(self, data: Source | Tables, validation: Source | None = None, training: Training | None = None) -> Path:
        """Encode Parquet files on disk ahead of a `fit` of the same data and split, and return the folder of the result.

        Rows are encoded column by column, so that a table larger than memory can be prepared. `fit` prepares such tables by
        itself. It reuses a prepared table if the contents of the files, the inputs of features and tasks, and the split are
        the same. Prepared tables are in the cache, which evicts the least recently used ones first.

        Raises `UserError` if the data does not match the declaration, or is not Parquet.
        """
        return Stages(self, data, validation, training or self.training, ahead=True).folder()


class Fitted(Predictor):
    """A fitted recommender, as `Recommender.fit` and `polyrec.load` return it: the model, its states and its tables."""

    spec: Recommender

    def save(self, folder: str | Path) -> Path:
        """Write the recommender to a folder atomically, and return the folder."""
        artifact.write(Path(folder), self.parts)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a recommender that `save` wrote; every file is checked against the manifest first."""
        return cls(artifact.read(Path(folder), Recommender))

    def export(self, path: str | Path, format: str = "onnx") -> Path:
        """Export the model for other runtimes, from the tensors of features to each task's prediction and the fused score.

        `format` is "onnx", for ONNX Runtime and others, or "torch", for `torch.export.load`. Next to the file `path` there is
        `path.json`, which lists the inputs and outputs with types and shapes; `encode` computes the inputs. A feature, network
        or task that cannot be exported is refused.
        """
        return export(self, Path(path), format)

    def recommend(
        self,
        k: int = 10,
        *,
        user: object = None,
        features: Mapping[str, Any] | None = None,
        exclude_seen: bool = True,
        where: str | None = None,
        columns: Sequence[str] = (),
        weights: Mapping[str, float] | None = None,
        rules: Sequence[Rule] = (),
        seed: int = 0,
        events: pl.DataFrame | None = None,
        **keywords: Any,
    ) -> pl.DataFrame:
        """Return the top `k` items for one user, best first: key, `columns` of the item, score, each task's prediction.

        The user is given by key, by columns that user features read, or both: `recommend(user=42)` for a known user,
        `recommend(features={"age": 30, "occupation": "artist"})` for a new one. `features` replace the stored values of a known
        user; columns that are neither given nor stored are null. Keywords are a short form, `recommend(user_id=42, age=30)`,
        for columns whose name is no parameter of this method.

        With `exclude_seen`, items of the user's training rows are excluded. `where` is a SQL condition on the catalogue's
        columns. `weights` replace weights of the fusion for this list.

        `rules` are applied after those of the declaration. If one of them draws at random, there is a column `propensity`, the
        probability of the item at its position, and the same `seed` makes the same list.

        `events` are the user's actions since the training: rows with the item's key, the time and the other columns that
        histories read. Histories are extended by them and, with `exclude_seen`, their items are left out too. Rows that are not
        later than the user's last training row are ignored.

        Raises `UserError` for an unknown column, a column that is given twice, and a value that does not fit its column.
        """
        require_columns(self.items, columns, "`columns` of the catalogue")
        given = request_columns(self.user_key, user, features or {}, keywords)
        request = ListRequest(given, k, exclude_seen, where, weights or {}, tuple(rules), seed, events)
        recommended = recommendation(self, request)
        listed = recommended.listed
        for note in listed.notes:
            warnings.warn(note, stacklevel=2)
        shown = [self.item_key, *(column for column in columns if column != self.item_key)]
        frame = self.items[listed.rows_K].select(shown)
        frame = frame.with_columns(self._columns(recommended.predictions, torch.from_numpy(listed.scores_K)))
        if any(rule.explores for rule in (*self.spec.rules, *rules)):
            frame = frame.with_columns(pl.Series("propensity", listed.propensities_K))
        return frame

    def evaluate(
        self,
        data: Source | Tables,
        *,
        slices: Sequence[str] = (),
        resamples: int = 0,
        ranking: bool = True,
        ks: Sequence[int] = (10,),
        exposure: Sequence[str] = (),
        seed: int = 0,
    ) -> Evaluation:
        """Evaluate the predictions on labelled rows, and the fused ranking over the complete catalogue.

        Every task is evaluated on the rows where its label is observed. `slices` names columns for whose values metrics are
        computed separately. With `resamples`, each metric has a 95 % bootstrap interval; users are drawn with replacement. The
        ranking is evaluated at the ranks `ks` for users with a relevant item among the rows. Items of a user's training rows
        are excluded, so that there is no ranking on the training rows themselves. The lists are also described by
        diversity, novelty, popularity and the exposure by each catalogue column in `exposure`.
        """
        frame = read_rows(self.parts, self.roles, data)
        return judge(self, frame, slices=slices, resamples=resamples, ranking=ranking, ks=ks, exposure=exposure, seed=seed)

    def tune_fusion(
        self,
        data: Source | Tables,
        utility: Mapping[str, float],
        *,
        trials: int = 100,
        sampler: Literal["tpe", "random"] = "tpe",
        seed: int = 0,
        ranges: Mapping[str, Uniform] | None = None,
        on_trial: Callable[[int], None] = lambda done: None,
    ) -> FusionSearch:
        """Search for the fusion weights that rank users' held-out rows best; `FusionSearch.apply` sets the best ones.

        `utility` maps `task.metric` (`gauc`, `ndcg@k` and `mean@k` of that task's label) to weights: negative for metrics that
        should be low, 0 for metrics that are only reported. The rows of a user are a list, ordered by the fused score. Trial 0
        has the declared weights; the others are proposed by Optuna's TPE (Bergstra et al., NeurIPS 2011) or at random
        (Bergstra and Bengio, JMLR 2012). The search uses a half of the users, drawn by `seed`; gains are measured on the
        other half. Each weight is searched from 0 to at least twice its value, with its sign, unless `ranges` has a
        range for it. `on_trial` receives the number of completed trials.

        Raises `UserError` if the table does not determine a metric or has fewer than 4 users, or the fusion has no weights.
        """
        return search_fusion(self, read_rows(self.parts, self.roles, data), utility, trials, sampler, seed, ranges, on_trial)

    def weights_of(self, users: pl.DataFrame) -> pl.DataFrame:
        """Return the users with a column `weight.name` for each fusion weight that their requests use.

        The users are given as in `recommend`, one per row: by key, by columns that user features read, or both. Columns that
        are not given have the stored value of the user, or are null. Only the weights of `Personal` differ between users.
        """
        return weights_of(self, users)

    def encode(self, data: Source | Tables) -> dict[str, np.ndarray]:
        """Return the inputs of an exported model, by name, for the rows of a table.

        Raises `UserError` if the model has a feature that cannot be exported.
        """
        refuse_obstacles(self.spec.all_features, "inputs of an exported model")
        frame = read_rows(self.parts, self.roles, data)
        batch = prepare_rows(self.catalogue, frame).batch(torch.arange(frame.height))
        tensors = flatten(batch, self.spec.all_features)
        if lifts_new_items(self.spec.tasks):
            tensors[NEW_ITEM] = self.catalogue.is_new(frame[self.item_key])
        return {name: tensor.numpy() for name, tensor in tensors.items()}
