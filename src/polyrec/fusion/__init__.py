"""How the predictions of the tasks become one score."""

from polyrec.fusion.add import Add
from polyrec.fusion.concat import Concat
from polyrec.fusion.formula import Formula
from polyrec.fusion.fusion import Fusion
from polyrec.fusion.multiply import Multiply
from polyrec.fusion.personal import Personal
from polyrec.fusion.rank import Rank

__all__ = [
    "Add",
    "Concat",
    "Formula",
    "Fusion",
    "Multiply",
    "Personal",
    "Rank",
]
