"""Attention that does not cross from one packed document into another.

A window of training data is cut from a stream of documents, each followed by end-of-text. With
this attention, a document in a window is computed as if it stood alone: it attends to itself
only, and its positions count from 0. (GPT-3 and the paper let attention cross.)
"""

import torch
from torch import Tensor
from torch.nn import functional


def document_numbers(tokens: Tensor, end_of_text_id: int) -> Tensor:
    """Which document of its row each token belongs to, from 0, ``(batch, time)``.

    An end-of-text token belongs to the document it ends.
    """
    ends = tokens == end_of_text_id
    return ends.cumsum(1) - ends.long()


def document_positions(numbers: Tensor) -> Tensor:
    """Places within documents, from 0, of tokens ``(batch, time)`` of :func:`document_numbers`.

    A document cut off by the row's beginning counts from there.
    """
    places = torch.arange(numbers.shape[1], device=numbers.device).expand_as(numbers)
    begins = functional.pad(numbers[:, 1:] != numbers[:, :-1], (1, 0), value=True)
    return places - (places * begins).cummax(1).values


class DocumentAttention:
    """``attend`` for rows of packed documents.

    Args:
        numbers: from :func:`document_numbers`.
        dropout: share of attention weights zeroed.
    """

    def __init__(self, numbers: Tensor, dropout: float = 0.0) -> None:
        time = numbers.shape[1]
        earlier = torch.ones(time, time, dtype=torch.bool, device=numbers.device).tril()
        same = numbers.unsqueeze(2) == numbers.unsqueeze(1)
        self._mask = (same & earlier).unsqueeze(1)  # (batch, 1, time, time)
        self._dropout = dropout

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self._mask, dropout_p=self._dropout
        )
