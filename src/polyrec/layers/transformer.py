"""Self-attention over a sequence. Shape letters: B rows, L length, K width, A heads, W width of a head."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class TransformerBlock(nn.Module):
    """Pre-norm block (Vaswani et al., NeurIPS 2017; Xiong et al., ICML 2020): `y = x + attend(norm(x))`, then `y + W_2 relu(W_1
    norm(y))`.

    `forward` maps (B, L, K) to (B, L, K). `visible`, (B, 1, L, L) or (L, L), is true where a query (row) may attend to a key;
    every query needs at least one key. Queries, keys and values have no bias: a bias on the keys would cancel in the softmax.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float = 0.0) -> None:
        super().__init__()
        assert width % heads == 0, "the width is a multiple of the heads"
        self.heads, self.rate = heads, dropout
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.merge = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward), nn.ReLU(), nn.Dropout(dropout), nn.Linear(feed_forward, width)
        )
        self.dropout = nn.Dropout(dropout)

    def __call__(self, x_BLK: Tensor, visible: Tensor | None = None) -> Tensor:
        return super().__call__(x_BLK, visible)

    def forward(self, x_BLK: Tensor, visible: Tensor | None = None) -> Tensor:
        x_BLK = x_BLK + self.dropout(self.merge(self._attended(self.attention_norm(x_BLK), visible)))
        return x_BLK + self.dropout(self.feed_forward(self.feed_forward_norm(x_BLK)))

    def _attended(self, x_BLK: Tensor, visible: Tensor | None) -> Tensor:
        by_head = self.queries_keys_values(x_BLK).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query_BALW, key_BALW, value_BALW = by_head.unbind(0)
        rate = self.rate if self.training else 0.0
        mixed_BALW = functional.scaled_dot_product_attention(
            query_BALW, key_BALW, value_BALW, attn_mask=visible, dropout_p=rate
        )
        return mixed_BALW.transpose(1, 2).flatten(2)
