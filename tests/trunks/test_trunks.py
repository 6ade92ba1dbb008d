"""Each trunk against plain loops over rows, fields and layers, written from the formulas.

Shape letters: B rows, D width of all fields together, F fields, K width of a token.
"""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from polyrec.layers.cross import CrossLayers
from polyrec.layers.tokens import FieldTokens
from polyrec.trunks.cnn import CNN
from polyrec.trunks.dcn_v2 import DCNv2
from polyrec.trunks.mlp import MLP
from polyrec.trunks.rnn import RNN
from polyrec.trunks.transformer import Transformer
from polyrec.trunks.trunk import Trunk, TrunkModule

WIDTHS = (3, 4, 3, 2)


def world(trunk: Trunk) -> tuple[TrunkModule, dict[str, Tensor], Tensor]:
    """Return a trunk's module, its weights, and five rows, all in double precision."""
    torch.manual_seed(0)
    module = trunk.build(WIDTHS).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module, {name: value.detach() for name, value in module.state_dict().items()}, torch.randn(5, sum(WIDTHS)).double()


def tokens(weights: dict[str, Tensor], row_D: Tensor, width: int) -> list[Tensor]:
    mapped_tokens = []
    for field, part in enumerate(row_D.split(WIDTHS)):
        mapped = part if len(part) == width else weights[f"tokens.maps.{len(part)}.weight"] @ part
        mapped_tokens.append(mapped + weights["tokens.identity_FK"][field])
    return mapped_tokens


def norm(x_K: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    centred = x_K - x_K.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x_K: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return weights[f"{name}.weight"] @ x_K + weights[f"{name}.bias"]


def test_tokens_by_hand():
    tokens = FieldTokens((1, 2), 2)
    with torch.no_grad():
        tokens.maps["1"].weight.copy_(torch.tensor([[2.0], [3.0]]))
        tokens.identity_FK.copy_(torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    output = tokens(torch.tensor([[10.0, 5.0, 7.0]]))
    torch.testing.assert_close(output, torch.tensor([[[20.1, 30.2], [5.3, 7.4]]]))


def test_fields_of_one_width_share_a_map_and_one_of_the_tokens_width_has_none():
    assert FieldTokens((3, 4, 3, 2), 4).maps.keys() == {"2", "3"}


def test_mlp_is_layers_over_all_fields():
    module, weights, x_BD = world(MLP(hidden=(6, 5)))
    for row, output in zip(x_BD, module(x_BD), strict=True):
        first = linear(row, weights, "layers.steps.0").clamp(min=0)
        torch.testing.assert_close(output, linear(first, weights, "layers.steps.2").clamp(min=0))


def test_cnn_is_the_maximum_and_mean_over_windows_of_neighbours():
    module, weights, x_BD = world(CNN(width=4, channels=3, sizes=(1, 3)))
    for row, output in zip(x_BD, module(x_BD), strict=True):
        tokens_F = tokens(weights, row, 4)
        by_field = []
        for last in range(len(WIDTHS)):
            answers = []
            for number, size in enumerate((1, 3)):
                kernel, bias = weights[f"windows.filters.{number}.weight"], weights[f"windows.filters.{number}.bias"]
                for channel in range(3):
                    window = [(step, last - size + 1 + step) for step in range(size) if last - size + 1 + step >= 0]
                    answer = bias[channel] + sum(kernel[channel, :, step] @ tokens_F[field] for step, field in window)
                    answers.append(answer.clamp(min=0))
            by_field.append(torch.stack(answers))
        stacked = torch.stack(by_field)
        torch.testing.assert_close(output, torch.cat([stacked.max(0).values, stacked.sum(0) / len(WIDTHS)]))


def test_gru_reads_the_fields_in_order():
    module, weights, x_BD = world(RNN(cell="gru", width=4, hidden=3))
    into, over = weights["reader.cell.weight_ih_l0"].split(3), weights["reader.cell.weight_hh_l0"].split(3)
    bias_into, bias_over = weights["reader.cell.bias_ih_l0"].split(3), weights["reader.cell.bias_hh_l0"].split(3)
    for row, output in zip(x_BD, module(x_BD), strict=True):
        state = torch.zeros(3).double()
        for token in tokens(weights, row, 4):
            heard = [into[part] @ token + bias_into[part] for part in range(3)]
            kept = [over[part] @ state + bias_over[part] for part in range(3)]
            reset, update = (heard[0] + kept[0]).sigmoid(), (heard[1] + kept[1]).sigmoid()
            state = update * state + (1 - update) * (heard[2] + reset * kept[2]).tanh()
        torch.testing.assert_close(output, state)


def test_lstm_reads_the_fields_in_order_and_gives_its_output():
    module, weights, x_BD = world(RNN(cell="lstm", width=4, hidden=3))
    for row, output in zip(x_BD, module(x_BD), strict=True):
        state, memory = torch.zeros(3).double(), torch.zeros(3).double()
        for token in tokens(weights, row, 4):
            heard = weights["reader.cell.weight_ih_l0"] @ token + weights["reader.cell.bias_ih_l0"]
            kept = weights["reader.cell.weight_hh_l0"] @ state + weights["reader.cell.bias_hh_l0"]
            enter, forget, content, leave = (heard + kept).split(3)
            memory = forget.sigmoid() * memory + enter.sigmoid() * content.tanh()
            state = leave.sigmoid() * memory.tanh()
        torch.testing.assert_close(output, state)


def test_transformer_is_the_summary_after_attention_by_hand():
    heads, width = 2, 4
    module, weights, x_BD = world(Transformer(width=width, heads=heads, layers=2, feed_forward=5))
    for row, output in zip(x_BD, module(x_BD), strict=True):
        states = [weights["summary_K"], *tokens(weights, row, width)]
        for block in ("blocks.0", "blocks.1"):
            normed = [norm(state, weights, f"{block}.attention_norm") for state in states]
            projected = [weights[f"{block}.queries_keys_values.weight"] @ state for state in normed]
            size = width // heads
            attended = []
            for query in projected:
                by_head = []
                for head in range(heads):
                    part = slice(head * size, (head + 1) * size)
                    query_W = query[:width][part]
                    scores = torch.stack([query_W @ other[width : 2 * width][part] / math.sqrt(size) for other in projected])
                    shares = scores.exp() / scores.exp().sum()
                    values = [other[2 * width :][part] for other in projected]
                    by_head.append(sum(share * value for share, value in zip(shares, values, strict=True)))
                attended.append(linear(torch.cat(by_head), weights, f"{block}.merge"))
            states = [state + seen for state, seen in zip(states, attended, strict=True)]
            hidden = [
                linear(norm(state, weights, f"{block}.feed_forward_norm"), weights, f"{block}.feed_forward.0").clamp(min=0)
                for state in states
            ]
            states = [s + linear(h, weights, f"{block}.feed_forward.3") for s, h in zip(states, hidden, strict=True)]
        torch.testing.assert_close(output, norm(states[0], weights, "norm"))


def test_transformer_refuses_heads_that_do_not_share_out_the_width():
    with pytest.raises(ValidationError, match="width 10 cannot be divided among 4 heads"):
        Transformer(width=10, heads=4)


def test_crosses_by_hand():
    cross = CrossLayers(2, layers=2)
    with torch.no_grad():
        for weight in cross.weights:
            weight.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
            weight.bias.copy_(torch.tensor([1.0, 0.0]))
    # x0 = (1, 2): W x0 + b = (6, 2), x1 = (1, 2) * (6, 2) + (1, 2) = (7, 6); W x1 + b = (20, 6), x2 = (20, 12) + (7, 6).
    torch.testing.assert_close(cross(torch.tensor([[1.0, 2.0]])), torch.tensor([[27.0, 18.0]]))


@pytest.mark.parametrize("rank", [None, 2])
def test_dcn_is_crosses_beside_layers(rank: int | None):
    module, weights, x_BD = world(DCNv2(layers=2, rank=rank, hidden=(5,)))
    for row, output in zip(x_BD, module(x_BD), strict=True):
        crossed = row
        for layer in ("cross.weights.0", "cross.weights.1"):
            product = (
                linear(crossed, weights, layer)
                if rank is None
                else linear(weights[f"{layer}.0.weight"] @ crossed, weights, f"{layer}.1")
            )
            crossed = row * product + crossed
        torch.testing.assert_close(output, torch.cat([crossed, linear(row, weights, "deep.steps.0").clamp(min=0)]))


def test_a_full_rank_says_all_that_a_full_matrix_says():
    full, low = CrossLayers(4, 1), CrossLayers(4, 1, rank=4)
    with torch.no_grad():
        low.weights[0][0].weight.copy_(torch.eye(4))
        low.weights[0][1].load_state_dict(full.weights[0].state_dict())
    x_BD = torch.randn(3, 4)
    torch.testing.assert_close(full(x_BD), low(x_BD))
