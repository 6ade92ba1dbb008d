"""Tasks, their heads, and links between tasks."""

from polyrec.tasks.binary import Binary
from polyrec.tasks.censored import Censored
from polyrec.tasks.count import Count
from polyrec.tasks.generative import Generative
from polyrec.tasks.head import Head, TowerHead
from polyrec.tasks.link import Link, LinkModule
from polyrec.tasks.listwise import Listwise
from polyrec.tasks.multiclass import Multiclass
from polyrec.tasks.multilabel import Multilabel
from polyrec.tasks.ordinal import Ordinal
from polyrec.tasks.pairwise import Pairwise
from polyrec.tasks.product import Product
from polyrec.tasks.quantile import Quantile
from polyrec.tasks.regression import Regression
from polyrec.tasks.retrieval import Retrieval
from polyrec.tasks.task import Task
from polyrec.tasks.transfer import Transfer
from polyrec.tasks.triplet import Triplet

__all__ = [
    "Binary",
    "Censored",
    "Count",
    "Generative",
    "Head",
    "Link",
    "LinkModule",
    "Listwise",
    "Multiclass",
    "Multilabel",
    "Ordinal",
    "Pairwise",
    "Product",
    "Quantile",
    "Regression",
    "Retrieval",
    "Task",
    "TowerHead",
    "Transfer",
    "Triplet",
]
