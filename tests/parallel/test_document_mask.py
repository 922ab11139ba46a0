"""Packed documents that do not see one another."""

import torch

from hyperclova.model import GPT, GPTConfig
from hyperclova.parallel.documents import (
    DocumentAttention,
    document_numbers,
    document_positions,
)

END = 3


def test_numbers_and_positions_of_packed_documents() -> None:
    # A document's rest, a whole one, an empty one, and another's beginning.
    tokens = torch.tensor([[7, 8, END, 5, 6, 9, END, END, 4, 4], [5, 6, 7, 8, 9, 5, 6, 7, 8, END]])
    numbers = document_numbers(tokens, END)
    assert numbers.tolist() == [[0, 0, 0, 1, 1, 1, 1, 2, 3, 3], [0] * 10]
    positions = document_positions(numbers)
    assert positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 0, 0, 1], [*range(10)]]


@torch.no_grad()
def test_packed_documents_are_computed_as_if_alone() -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(40, 64, layers=2, width=32, heads=4)).eval()
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.2)
    lengths = [(20, 1, 30, 13), (64,), (2, 50, 12)]
    rows = [
        [torch.cat([torch.randint(4, 40, (n - 1,)), torch.tensor([END])]) for n in row]
        for row in lengths
    ]
    packed = torch.stack([torch.cat(row) for row in rows])
    numbers = document_numbers(packed, END)
    logits = model(packed, positions=document_positions(numbers), attend=DocumentAttention(numbers))
    alone = torch.stack([torch.cat([model(each[None])[0] for each in row]) for row in rows])
    torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-5)
    # Without it they do see one another.
    assert not torch.allclose(model(packed)[0, 20:], alone[0, 20:], atol=1e-2)
