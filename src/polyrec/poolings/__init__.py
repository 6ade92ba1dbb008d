"""How a history becomes one vector."""

from polyrec.poolings.convolution import Convolution
from polyrec.poolings.din import DIN
from polyrec.poolings.mean import Mean
from polyrec.poolings.pooling import Pooling, PoolingModule
from polyrec.poolings.recency import Recency
from polyrec.poolings.recurrent import Recurrent
from polyrec.poolings.sasrec import SASRec

__all__ = [
    "DIN",
    "Convolution",
    "Mean",
    "Pooling",
    "PoolingModule",
    "Recency",
    "Recurrent",
    "SASRec",
]
