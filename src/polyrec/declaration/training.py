"""`Training`: the settings of the training loop."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from polyrec.core.spec import Spec
from polyrec.data.splits import RandomSplit, Split

OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop", "adagrad"]
TablesName = Literal["row_wise_adagrad", "rows", "dense"]
ScheduleName = Literal["constant", "linear", "cosine"]


class Training(Spec):
    """Optimiser, budget and model selection.

    After each epoch the utility is computed on validation rows; the weights of the epoch with the highest utility are kept.
    """

    epochs: int = Field(default=20, ge=1)
    """Maximum number of passes over the training rows."""
    batch_size: int = Field(default=1024, ge=1)
    """Number of rows per step; negatives that a task draws come in addition."""
    optimizer: OptimizerName = "adam"
    """Adam (Kingma and Ba, 2015), AdamW (Loshchilov and Hutter, 2019), SGD, RMSProp or Adagrad (Duchi et al., 2011);
    upper and lower case are equivalent."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """L2 penalty on every weight; decoupled weight decay for AdamW, and for tables with `row_wise_adagrad`."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Momentum of SGD and RMSProp; other optimisers ignore it."""
    schedule: ScheduleName = "constant"
    """Decay of the learning rate from its peak to zero over the entire budget; `constant` does not decay."""
    warmup: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the budget over which the learning rate rises linearly to its peak."""
    gradient_clip: float | None = Field(default=None, gt=0)
    """Maximum joint gradient norm of all weights; unset, gradients are not clipped."""
    patience: int | None = Field(default=3, ge=1)
    """Number of epochs without a higher utility after which training stops; unset, all epochs run."""
    utility: dict[str, float] = {}
    """Validation objective, as weights of `task.metric`, such as `{like.auc: 1, stars.rmse: -1}`; a Retrieval task also has
    `recall@10` and `ndcg@10` over all items. If empty: the mean over tasks of `task.skill`, which is one minus the ratio of the
    model's loss to the loss of the best constant prediction."""
    watch: tuple[str, ...] = ()
    """Additional `task.metric` values to compute on validation after each epoch, without effect on the utility."""
    split: Split = RandomSplit()
    """Split that takes validation rows from the data if `fit` receives none."""
    refit: bool = False
    """Set `refit` to train again from the initial weights on all rows, for the number of epochs that validation chose."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Data type of the forward pass; weights, the tasks' gradients and the optimiser's state are always float32."""
    compile: bool = False
    """Set `compile` to let TorchInductor compile a step's losses and gradients to one function, in float32. It requires a C++
    compiler, and compilation takes up to a minute; small batches gain most."""
    tables: TablesName = "row_wise_adagrad"
    """Update rule of embedding tables. `row_wise_adagrad` (Mudigere et al., ISCA 2022): a separate optimiser with
    `table_learning_rate` and one number of state per row, only on the rows in the batch. `rows`: `optimizer`, only on
    the rows in the batch; SGD and Adagrad then equal the dense update, and `RowAdam` documents how Adam differs. `dense`:
    `optimizer`, on every row at every step."""
    table_learning_rate: float = Field(default=0.05, gt=0)
    """Peak learning rate of `row_wise_adagrad`; it is high since few steps update a row and Adagrad's step sizes shrink."""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """Number of steps between checkpoints within an epoch, if `fit` receives a checkpoint folder; unset, one is written only
    after each epoch."""
    probe: int = Field(default=0, ge=0)
    """Number of batches per epoch for which the curves report cosines and norms of the tasks' gradients."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the split, the initial weights, the order of rows, negatives and dropout."""

    @model_validator(mode="after")
    def _compiles_float32(self) -> Self:
        if self.compile and self.precision != "float32":
            raise ValueError("compiled steps compute in float32. Set `precision` to float32 or `compile` to false.")
        return self

    @model_validator(mode="after")
    def _rows_can_be(self) -> Self:
        penalty = self.weight_decay > 0 and self.optimizer != "adamw"
        if self.tables == "rows" and (self.optimizer == "rmsprop" or self.momentum > 0 or penalty):
            raise ValueError(
                "RMSProp, momentum and an L2 penalty update every row of a table at every step. Set momentum and weight_decay "
                "to zero, use adamw, whose weight decay can be applied by row, or set `tables` to row_wise_adagrad or dense."
            )
        return self

    @property
    def updates_rows(self) -> bool:
        """Whether a step updates only the table rows in its batch."""
        return self.tables != "dense"

    @field_validator("optimizer", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) and value.lower() in get_args(OptimizerName) else value
