"""Tree of item codes, and beam search for the most probable items.

Shape letters: I items, L levels, N nodes of a level, W nodes kept, E edges followed, H width of a state.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polyrec.layers.code_decoder import CodeDecoder


class CodeTree:
    """Items by their codes, (I, L): a node is a prefix of codes that some item has, a leaf is a complete sequence of codes.

    Items are sorted by their codes, so that the items and the nodes below a node are contiguous ranges.
    """

    def __init__(self, numbers_IL: Tensor) -> None:
        paths_NL, leaf_I = torch.unique(numbers_IL, dim=0, return_inverse=True)
        self.item_I = torch.argsort(leaf_I, stable=True)
        """Items sorted by their codes."""
        self.numbers: list[Tensor] = []
        """For each level, the last code of each node, (N,)."""
        self.children: list[Tensor] = []
        """For each level, where the children of each node start in the next level, (N + 1,); for the last level, where its
        items start."""
        self.first_items: list[Tensor] = []
        """For each level, where the items below each node start, (N + 1,)."""
        counts_N = torch.bincount(leaf_I, minlength=len(paths_NL))
        below = _starts(counts_N)
        for level in range(numbers_IL.shape[1] - 1, -1, -1):
            self.numbers.insert(0, paths_NL[:, level])
            self.children.insert(0, below)
            self.first_items.insert(0, _starts(counts_N))
            paths_NL, parent_N = torch.unique(paths_NL[:, :level], dim=0, return_inverse=True) if level else _root(paths_NL)
            below = _starts(torch.bincount(parent_N, minlength=len(paths_NL)))
            counts_N = torch.zeros(len(paths_NL), dtype=torch.long).index_add_(0, parent_N, counts_N)
        self.children.insert(0, below)

    def alive(self, kept_I: Tensor) -> list[Tensor]:
        """Return for each level a mask (N,) of the nodes that have an allowed item below them."""
        before = torch.cat([torch.zeros(1, dtype=torch.long), kept_I[self.item_I].long().cumsum(0)])
        return [before[starts[1:]] > before[starts[:-1]] for starts in self.first_items]


def beam_search(
    decoder: CodeDecoder, state_1H: Tensor, tree: CodeTree, beams: int, kept_I: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the items below the most probable leaves, most probable first, and the log probability of their codes.

    At each level the `beams` most probable nodes are kept. Only codes that lead to an item (in `kept_I` if given) are followed:
    unlike in free decoding, every result exists. The search is exact if there are as many beams as the tree has nodes on a
    level. Items with equal codes are adjacent, in ascending order.
    """
    node_W, score_W, state_WH = torch.zeros(1, dtype=torch.long), torch.zeros(1), state_1H
    alive = None if kept_I is None else tree.alive(kept_I)
    for level, numbers_N in enumerate(tree.numbers):
        logs_WK = torch.log_softmax(decoder.logits(state_WH, level), 1)
        from_E, child_E = _ranges(tree.children[level], node_W)
        if alive is not None:
            lives_E = alive[level][child_E]
            from_E, child_E = from_E[lives_E], child_E[lives_E]
        score_E = score_W[from_E] + logs_WK[from_E, numbers_N[child_E]]
        best_W = torch.argsort(score_E, descending=True, stable=True)[:beams]
        node_W, score_W = child_E[best_W], score_E[best_W]
        if level + 1 < len(tree.numbers):
            state_WH = decoder.read(state_WH[from_E[best_W]], level, numbers_N[node_W])
    leaf_E, place_E = _ranges(tree.children[-1], node_W)
    items_E, scores_E = tree.item_I[place_E], score_W[leaf_E]
    return (items_E, scores_E) if kept_I is None else (items_E[kept_I[items_E]], scores_E[kept_I[items_E]])


def _ranges(starts: Tensor, node_W: Tensor) -> tuple[Tensor, Tensor]:
    """Return the concatenated child ranges of some nodes: the position of the node of each element, and the element."""
    first_W, count_W = starts[node_W], starts[node_W + 1] - starts[node_W]
    from_E = torch.repeat_interleave(torch.arange(len(node_W)), count_W)
    within_E = torch.arange(len(from_E)) - (count_W.cumsum(0) - count_W)[from_E]
    return from_E, first_W[from_E] + within_E


def _starts(counts_N: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.long), counts_N.cumsum(0)])


def _root(paths_NL: Tensor) -> tuple[Tensor, Tensor]:
    return paths_NL[:1, :0], torch.zeros(len(paths_NL), dtype=torch.long)
