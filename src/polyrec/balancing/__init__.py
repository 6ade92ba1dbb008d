"""How the losses of the tasks become one step."""

from polyrec.balancing.aligned_mtl import AlignedMTL
from polyrec.balancing.balancer import Balancer
from polyrec.balancing.cagrad import CAGrad
from polyrec.balancing.concatenated import Concatenated
from polyrec.balancing.dwa import DWA
from polyrec.balancing.famo import FAMO
from polyrec.balancing.fixed_weights import FixedWeights
from polyrec.balancing.gls import GLS
from polyrec.balancing.gradnorm import GradNorm
from polyrec.balancing.gradvac import GradVac
from polyrec.balancing.hierarchical import Hierarchical
from polyrec.balancing.imtl_g import IMTLG
from polyrec.balancing.mgda import MGDA
from polyrec.balancing.nash_mtl import NashMTL
from polyrec.balancing.pcgrad import PCGrad
from polyrec.balancing.rlw import RLW
from polyrec.balancing.uncertainty import Uncertainty
from polyrec.balancing.upgrad import UPGrad

__all__ = [
    "DWA",
    "FAMO",
    "GLS",
    "IMTLG",
    "MGDA",
    "RLW",
    "AlignedMTL",
    "Balancer",
    "CAGrad",
    "Concatenated",
    "FixedWeights",
    "GradNorm",
    "GradVac",
    "Hierarchical",
    "NashMTL",
    "PCGrad",
    "UPGrad",
    "Uncertainty",
]
