"""The inverted file against exact search and faiss's indexes: recall, time per query, build time, memory.

    OMP_NUM_THREADS=1 python benchmarks/index.py                 # a million vectors of width 64; some four minutes of CPU
    python benchmarks/index.py --rows 100000 --peers 0           # fewer, and without faiss (pip install faiss-cpu)

Vectors have length one and come in two kinds. `clustered`: one of 2,000 directions, of uneven frequency (rank to the
power -1/2), plus noise of the same length; two vectors of one direction have a cosine of about .5. `smooth`: no clusters,
normal numbers whose variance is 1 over the number of the axis. Queries are drawn like the vectors and are not among them. A
random filter keeps each vector with equal probability; the filter `corner` keeps the tenth that points farthest in a random
direction, far from most queries. Times are CPU times on one thread, medians over single queries, both indexes alternating.
Writes docs/results/index.json; indexes are kept in the folder `--work` and reused.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import polyrec
from polyrec.core.files import write_text
from polyrec.index.build import load_index, save_index
from polyrec.index.exact import Exact
from polyrec.index.inverted_file import InvertedFile

OUT = Path(__file__).parents[1] / "docs" / "results" / "index.json"
WIDTH, K, CLUSTERS = 64, 100, 2_000


def unit(vectors_ND: np.ndarray) -> np.ndarray:
    """Return vectors divided by their lengths."""
    return (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).astype(np.float32)


def made(kind: str, rows: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors and queries of a kind."""
    generator = np.random.default_rng(0)
    if kind == "smooth":
        deviation_D = np.arange(1, WIDTH + 1) ** -0.5
        both = unit(generator.standard_normal((rows + queries, WIDTH), dtype=np.float32) * deviation_D)
        return both[:rows], both[rows:]
    centres = unit(generator.standard_normal((CLUSTERS, WIDTH)))
    share = np.arange(1, CLUSTERS + 1) ** -0.5
    own = generator.choice(CLUSTERS, rows + queries, p=share / share.sum())
    both = unit(centres[own] + generator.standard_normal((rows + queries, WIDTH), dtype=np.float32) / WIDTH**0.5)
    return both[:rows], both[rows:]


def filters(vectors_ND: np.ndarray) -> dict[str, np.ndarray | None]:
    """Return which vectors each filter keeps, by the name of the filter."""
    generator = np.random.default_rng(1)
    toward_N = vectors_ND @ unit(generator.standard_normal((1, WIDTH)))[0]
    drawn = {f"{share:.0%} at random": generator.random(len(vectors_ND)) < share for share in (0.5, 0.1, 0.03, 0.01)}
    return {"none": None, **drawn, "10% in a corner": toward_N >= np.quantile(toward_N, 0.9)}


def recall(found_QK: np.ndarray, true_QK: np.ndarray) -> float:
    """Return the share of the true rows in the results."""
    pairs = zip(found_QK, true_QK, strict=True)
    return float(np.mean([len(np.intersect1d(found[found >= 0], true)) / (true >= 0).sum() for found, true in pairs]))


def timed(queries_QD: np.ndarray, *searches: Callable[[np.ndarray], object]) -> list[float]:
    """Return the median CPU milliseconds per query of each search; the searches alternate."""
    spent = np.zeros((len(searches), len(queries_QD)))
    for query in range(len(queries_QD)):
        for number, search in enumerate(searches):
            started = time.thread_time()
            search(queries_QD[query : query + 1])
            spent[number, query] = time.thread_time() - started
    return (1000 * np.median(spent, 1)).tolist()


def ours(kind: str, rows: int, queries: int, work: Path) -> dict[str, object]:
    """Compare the inverted file with the exact index."""
    vectors_ND, queries_QD = made(kind, rows, queries)
    path, facts = work / f"{kind}-{rows}.safetensors", work / f"{kind}-{rows}.json"
    if not path.is_file():
        started = time.process_time()
        save_index(InvertedFile.build(vectors_ND, progress=True), path)
        facts.write_text(json.dumps({"build_cpu_seconds": time.process_time() - started}))
    index, exact = load_index(path), Exact.build(vectors_ND)
    assert isinstance(index, InvertedFile)
    arrays = [value for value in vars(index).values() if isinstance(value, np.ndarray)]
    told: dict[str, object] = {
        "rows": rows,
        **json.loads(facts.read_text()),
        "megabytes": sum(array.nbytes for array in arrays) / 2**20,
        "megabytes_of_vectors": vectors_ND.nbytes / 2**20,
        "lists": len(index.centroids_LD),
        "budgets": index.budgets.tolist(),
    }
    for name, keep in filters(vectors_ND).items():
        true = exact.search(queries_QD, K, keep)
        found = index.search(queries_QD, K, keep)
        own, whole = timed(
            queries_QD, lambda q, keep=keep: index.search(q, K, keep), lambda q, keep=keep: exact.search(q, K, keep)
        )
        told[name] = {"recall": recall(found.rows_QK, true.rows_QK), "ms": own, "exact_ms": whole}
        print(f"{kind} {rows} {name}: {told[name]}", flush=True)
    started = time.process_time()
    for row in range(1_000):
        index.put([row], queries_QD[row % len(queries_QD)][None])
    told["put_ms"] = time.process_time() - started
    told["ms_with_1000_pending"] = timed(queries_QD, partial(index.search, k=K))[0]
    print(f"{kind} {rows}: {told}", flush=True)
    return told


def faiss_arms(kind: str, rows: int, queries: int) -> dict[str, object]:
    """Evaluate faiss's inverted file and its HNSW graph at several settings."""
    import faiss

    faiss.omp_set_num_threads(1)
    vectors_ND, queries_QD = made(kind, rows, queries)
    keep = filters(vectors_ND)["10% at random"]
    exact = Exact.build(vectors_ND)
    true = {"none": exact.search(queries_QD, K).rows_QK, "10% at random": exact.search(queries_QD, K, keep).rows_QK}
    chosen = faiss.IDSelectorBitmap(np.packbits(keep, bitorder="little"))
    lists = int(4 * rows**0.5)
    quantizer = faiss.IndexFlatIP(WIDTH)
    inverted = faiss.IndexIVFFlat(quantizer, WIDTH, lists, faiss.METRIC_INNER_PRODUCT)
    inverted.cp.spherical, inverted.cp.max_points_per_centroid = True, 64
    graph = faiss.IndexHNSWFlat(WIDTH, 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 80
    told: dict[str, object] = {"rows": rows, "version": faiss.__version__}
    for name, index, options in (
        ("IVFFlat", inverted, [("nprobe", faiss.SearchParametersIVF, value) for value in (32, 64, 128, 256, 512)]),
        ("HNSW", graph, [("efSearch", faiss.SearchParametersHNSW, value) for value in (200, 400, 800, 1600, 3200)]),
    ):
        started = time.process_time()
        if name == "IVFFlat":
            index.train(vectors_ND)
        index.add(vectors_ND)
        own: dict[str, object] = {"build_cpu_seconds": time.process_time() - started}
        for filtered in true:
            for option, parameters, value in options:
                selector = {} if filtered == "none" else {"sel": chosen}
                search = partial(index.search, k=K, params=parameters(**{option: value}, **selector))
                found_QK = np.concatenate([search(query_D[None])[1] for query_D in queries_QD])
                cost = {"recall": recall(found_QK, true[filtered]), "ms": timed(queries_QD, search)[0]}
                own[f"{filtered}, {option} {value}"] = cost
                print(f"faiss {name} {filtered}, {option} {value}: {cost}", flush=True)
        told[name] = own
    return told


def main() -> None:
    """Run all arms and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="vectors")
    parser.add_argument("--peers", type=int, default=200_000, help="vectors for the comparison with faiss; 0: none")
    parser.add_argument("--queries", type=int, default=100, help="number of queries")
    parser.add_argument("--work", type=Path, default=Path("index-benchmark"), help="folder of the indexes")
    parser.add_argument("--out", type=Path, default=OUT, help="file of the figures")
    told = parser.parse_args()
    told.work.mkdir(parents=True, exist_ok=True)
    results: dict[str, object] = {kind: ours(kind, told.rows, told.queries, told.work) for kind in ("clustered", "smooth")}
    exact_ms = {}
    for rows in (rows for rows in (10_000, 30_000, 100_000, 300_000) if rows < told.rows):
        vectors_ND, queries_QD = made("smooth", rows, told.queries)
        exact_ms[rows] = timed(queries_QD, partial(Exact.build(vectors_ND).search, k=K))[0]
    results["exact_ms"] = exact_ms
    if told.peers:
        results["ours_beside_faiss"] = ours("clustered", told.peers, told.queries, told.work)
        results["faiss"] = faiss_arms("clustered", told.peers, told.queries)
    versions = {"polyrec": polyrec.__version__, "numpy": np.__version__}
    facts = {"k": K, "width": WIDTH, "queries": told.queries, "versions": versions}
    write_text(told.out, json.dumps({**facts, **results}, indent=1) + "\n")
    print(f"Wrote {told.out}")


if __name__ == "__main__":
    main()
