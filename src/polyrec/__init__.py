"""Polyrec: one recommender for many tasks, with language models inside.

from polyrec import Binary, Categorical, Recommender, Regression

recommender = Recommender(
    user=(Categorical(name="user_id"),),
    item=(Categorical(name="item_id"),),
    tasks=(Binary(name="like", label="rating >= 4"), Regression(name="stars", label="rating")),
)
fitted = recommender.fit("ratings.parquet")
"""

from polyrec import datasets
from polyrec.balancing.aligned_mtl import AlignedMTL
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
from polyrec.calibration.isotonic import Isotonic
from polyrec.calibration.platt import Platt
from polyrec.calibration.temperature import Temperature
from polyrec.core.errors import UserError
from polyrec.core.schema import json_schema
from polyrec.core.spec import families, kinds
from polyrec.core.version import __version__ as __version__
from polyrec.data.read.query import Query
from polyrec.data.splits import LastSplit, RandomSplit, TimeSplit
from polyrec.data.tables import Tables
from polyrec.declaration.training import Training
from polyrec.evaluate.evaluation import Evaluation
from polyrec.evaluate.off_policy.estimate import off_policy
from polyrec.evaluate.off_policy.log import LogColumns
from polyrec.evaluate.off_policy.report import OffPolicy
from polyrec.features.categorical import Categorical
from polyrec.features.hashed import Hashed
from polyrec.features.history import History
from polyrec.features.joint import Joint
from polyrec.features.language_model import LanguageModel
from polyrec.features.light_gcn import LightGCN
from polyrec.features.multi_categorical import MultiCategorical
from polyrec.features.numeric import Numeric
from polyrec.features.piecewise import Piecewise
from polyrec.features.semantic_ids import SemanticIds
from polyrec.features.streamed import Streamed
from polyrec.features.text import Text
from polyrec.features.vector import Vector
from polyrec.fit.fusion_search import FusionSearch
from polyrec.fusion.add import Add
from polyrec.fusion.concat import Concat
from polyrec.fusion.formula import Formula
from polyrec.fusion.multiply import Multiply
from polyrec.fusion.personal import Personal
from polyrec.fusion.rank import Rank
from polyrec.language.encoders.embeddings_endpoint import EmbeddingsEndpoint
from polyrec.language.encoders.gguf import Gguf
from polyrec.language.encoders.hugging_face import HuggingFace
from polyrec.language.encoders.package import Package
from polyrec.language.encoders.precomputed import Precomputed
from polyrec.language.encoders.random_vectors import RandomVectors
from polyrec.language.encoders.shuffled import Shuffled
from polyrec.language.encoders.static_vectors import StaticVectors
from polyrec.language.encoders.tf_idf import TfIdf
from polyrec.language.endpoint.chat import Chat
from polyrec.language.post_processing import PostProcessing
from polyrec.language.tuning.frozen import Frozen
from polyrec.language.tuning.last_layers import LastLayers
from polyrec.language.tuning.lora import LoRA
from polyrec.networks.adapters import Adapters
from polyrec.networks.adatt import AdaTT
from polyrec.networks.cgc import CGC
from polyrec.networks.cross_stitch import CrossStitch
from polyrec.networks.home import HoME
from polyrec.networks.mmoe import MMoE
from polyrec.networks.pepnet import PEPNet
from polyrec.networks.ple import PLE
from polyrec.networks.shared_bottom import SharedBottom
from polyrec.networks.stem import STEM
from polyrec.poolings.convolution import Convolution
from polyrec.poolings.din import DIN
from polyrec.poolings.mean import Mean
from polyrec.poolings.recency import Recency
from polyrec.poolings.recurrent import Recurrent
from polyrec.poolings.sasrec import SASRec
from polyrec.predict.generator import Generator
from polyrec.ranges.choice import Choice
from polyrec.ranges.integers import Integers
from polyrec.ranges.uniform import Uniform
from polyrec.recommender import Fitted, Recommender
from polyrec.rules.at_most import AtMost
from polyrec.rules.diversify import Diversify
from polyrec.rules.epsilon_greedy import EpsilonGreedy
from polyrec.rules.exclude import Exclude
from polyrec.rules.pinned import Pinned
from polyrec.rules.plackett_luce import PlackettLuce
from polyrec.rules.where import Where
from polyrec.tasks.binary import Binary
from polyrec.tasks.censored import Censored
from polyrec.tasks.count import Count
from polyrec.tasks.generative import Generative
from polyrec.tasks.listwise import Listwise
from polyrec.tasks.multiclass import Multiclass
from polyrec.tasks.multilabel import Multilabel
from polyrec.tasks.ordinal import Ordinal
from polyrec.tasks.pairwise import Pairwise
from polyrec.tasks.product import Product
from polyrec.tasks.quantile import Quantile
from polyrec.tasks.regression import Regression
from polyrec.tasks.retrieval import Retrieval
from polyrec.tasks.transfer import Transfer
from polyrec.tasks.triplet import Triplet
from polyrec.trunks.cnn import CNN
from polyrec.trunks.dcn_v2 import DCNv2
from polyrec.trunks.mlp import MLP
from polyrec.trunks.rnn import RNN
from polyrec.trunks.transformer import Transformer
from polyrec.writing.item_tags import ItemTags
from polyrec.writing.user_profiles import UserProfiles

load = Fitted.load

__all__ = [
    "CGC",
    "CNN",
    "DIN",
    "DWA",
    "FAMO",
    "GLS",
    "IMTLG",
    "MGDA",
    "MLP",
    "PLE",
    "RLW",
    "RNN",
    "STEM",
    "AdaTT",
    "Adapters",
    "Add",
    "AlignedMTL",
    "AtMost",
    "Binary",
    "CAGrad",
    "Categorical",
    "Censored",
    "Chat",
    "Choice",
    "Concat",
    "Concatenated",
    "Convolution",
    "Count",
    "CrossStitch",
    "DCNv2",
    "Diversify",
    "EmbeddingsEndpoint",
    "EpsilonGreedy",
    "Evaluation",
    "Exclude",
    "Fitted",
    "FixedWeights",
    "Formula",
    "Frozen",
    "FusionSearch",
    "Generative",
    "Generator",
    "Gguf",
    "GradNorm",
    "GradVac",
    "Hashed",
    "Hierarchical",
    "History",
    "HoME",
    "HuggingFace",
    "Integers",
    "Isotonic",
    "ItemTags",
    "Joint",
    "LanguageModel",
    "LastLayers",
    "LastSplit",
    "LightGCN",
    "Listwise",
    "LoRA",
    "LogColumns",
    "MMoE",
    "Mean",
    "MultiCategorical",
    "Multiclass",
    "Multilabel",
    "Multiply",
    "NashMTL",
    "Numeric",
    "OffPolicy",
    "Ordinal",
    "PCGrad",
    "PEPNet",
    "Package",
    "Pairwise",
    "Personal",
    "Piecewise",
    "Pinned",
    "PlackettLuce",
    "Platt",
    "PostProcessing",
    "Precomputed",
    "Product",
    "Quantile",
    "Query",
    "RandomSplit",
    "RandomVectors",
    "Rank",
    "Recency",
    "Recommender",
    "Recurrent",
    "Regression",
    "Retrieval",
    "SASRec",
    "SemanticIds",
    "SharedBottom",
    "Shuffled",
    "StaticVectors",
    "Streamed",
    "Tables",
    "Temperature",
    "Text",
    "TfIdf",
    "TimeSplit",
    "Training",
    "Transfer",
    "Transformer",
    "Triplet",
    "UPGrad",
    "Uncertainty",
    "Uniform",
    "UserError",
    "UserProfiles",
    "Vector",
    "Where",
    "datasets",
    "families",
    "json_schema",
    "kinds",
    "load",
    "off_policy",
]
