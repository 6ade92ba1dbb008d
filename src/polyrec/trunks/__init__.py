"""Layers over the features, before experts or towers."""

from polyrec.trunks.cnn import CNN
from polyrec.trunks.dcn_v2 import DCNv2
from polyrec.trunks.mlp import MLP
from polyrec.trunks.rnn import RNN
from polyrec.trunks.transformer import Transformer
from polyrec.trunks.trunk import Trunk

__all__ = [
    "CNN",
    "MLP",
    "RNN",
    "DCNv2",
    "Transformer",
    "Trunk",
]
