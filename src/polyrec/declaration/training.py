"""`Training`: how a model is fitted."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from polyrec.core.spec import Spec
from polyrec.data.splits import RandomSplit, Split

OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop", "adagrad"]
TablesName = Literal["row_wise_adagrad", "rows", "dense"]
ScheduleName = Literal["constant", "linear", "cosine"]


class Training(Spec):
    """Optimiser, budget and selection.

    After each epoch the model is judged on validation rows by the utility; the weights of the best epoch are kept.
    """

    epochs: int = Field(default=20, ge=1)
    """Passes over the training rows, at most."""
    batch_size: int = Field(default=1024, ge=1)
    """Rows a step."""
    optimizer: OptimizerName = "adam"
    """Adam (Kingma and Ba, 2015), AdamW (Loshchilov and Hutter, 2019), SGD, RMSProp or Adagrad (Duchi et al., 2011), in any
    case of letters."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Step size at its highest."""
    weight_decay: float = Field(default=0.0, ge=0)
    """L2 penalty on every weight; for AdamW, and on tables under row-wise Adagrad, decoupled decay."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Momentum of SGD and RMSProp; the others do not read it."""
    schedule: ScheduleName = "constant"
    """How step sizes fall from their highest to zero over the whole budget."""
    warmup: float = Field(default=0.0, ge=0, le=1)
    """Share of the budget over which step sizes rise from zero."""
    gradient_clip: float | None = Field(default=None, gt=0)
    """Longest norm of the gradient of all weights together; unset, it is not clipped."""
    patience: int | None = Field(default=3, ge=1)
    """Epochs without a better utility after which training stops; unset, all epochs run."""
    utility: dict[str, float] = {}
    """What "better" means on validation: weights of `task.metric`, such as `{like.auc: 1, stars.rmse: -1}`; of a Retrieval also
    `recall@10` and `ndcg@10` among all items. Empty: the mean over tasks of `task.skill`, the share of the best constant's loss
    that the model saves."""
    watch: tuple[str, ...] = ()
    """Further figures by `task.metric` that validation tells after each epoch, without a part in the utility."""
    split: Split = RandomSplit()
    """How validation rows are taken from the data where `fit` is given none."""
    refit: bool = False
    """Whether to train once more, from the start and on all rows, for as many epochs as validation found best."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the forward pass; weights, gradients of the tasks and the optimiser's state are float32 either way."""
    compile: bool = False
    """Whether a step's losses and gradients are one function compiled by TorchInductor, in float32. It wants a C++ compiler and
    takes up to a minute at first; batches of few rows gain most."""
    tables: TablesName = "row_wise_adagrad"
    """How the tables of ids are updated. `row_wise_adagrad` (Mudigere et al., ISCA 2022): by steps of its own, in the rows that
    a batch touches only, with one number of state a row. `rows`: by the optimiser, in these rows only; with SGD and Adagrad the
    result is that of the dense update, how Adam by rows relates to dense Adam says `RowAdam`. `dense`: by the optimiser, in
    every row at every step."""
    table_learning_rate: float = Field(default=0.05, gt=0)
    """Highest step size of `row_wise_adagrad`: a row is touched in few steps, and Adagrad's shrink from the first on."""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """Steps after which a checkpoint is written within an epoch, where `fit` is given a folder for them; unset, one is written
    after each epoch only."""
    probe: int = Field(default=0, ge=0)
    """Batches an epoch at which the gradients of the tasks are compared: their cosines and norms are then among the curves."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the split, of the first weights, of the order of rows and of dropout."""

    @model_validator(mode="after")
    def _compiles_float32(self) -> Self:
        if self.compile and self.precision != "float32":
            raise ValueError("compiled steps compute in float32. Leave `precision` at float32, or `compile` off.")
        return self

    @model_validator(mode="after")
    def _rows_can_be(self) -> Self:
        penalty = self.weight_decay > 0 and self.optimizer != "adamw"
        if self.tables == "rows" and (self.optimizer == "rmsprop" or self.momentum > 0 or penalty):
            raise ValueError(
                "RMSProp, momentum and an L2 penalty move every row of a table at every step. Set momentum and weight_decay to "
                "zero, use adamw, whose decay is made good row by row, or update tables by row_wise_adagrad or dense."
            )
        return self

    @property
    def updates_rows(self) -> bool:
        """Whether tables are updated in the rows that a batch touches only."""
        return self.tables != "dense"

    @field_validator("optimizer", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) and value.lower() in get_args(OptimizerName) else value
