"""What the tasks share: experts, gates and towers."""

from polyrec.networks.adapters import Adapters
from polyrec.networks.adatt import AdaTT
from polyrec.networks.cgc import CGC
from polyrec.networks.cross_stitch import CrossStitch
from polyrec.networks.home import HoME
from polyrec.networks.mmoe import MMoE
from polyrec.networks.network import Network
from polyrec.networks.pepnet import PEPNet
from polyrec.networks.ple import PLE
from polyrec.networks.shared_bottom import SharedBottom
from polyrec.networks.shared_network import SharedNetwork
from polyrec.networks.stem import STEM

__all__ = [
    "CGC",
    "PLE",
    "STEM",
    "AdaTT",
    "Adapters",
    "CrossStitch",
    "HoME",
    "MMoE",
    "Network",
    "PEPNet",
    "SharedBottom",
    "SharedNetwork",
]
