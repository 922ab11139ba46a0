"""GPT-3's decoder, as HyperCLOVA uses it (Kim et al. 2021, §3.2), in plain PyTorch.

- pre-LayerNorm blocks, learned positions, GELU (tanh form), biases everywhere
- one matrix for the token embedding and the output head
- dropout on embeddings, attention output and MLP output, as in GPT-2
- beyond the paper and off by default: LayerNorm on queries and keys; multipliers that let a wide
  model keep a narrow one's hyperparameters (``model/mup.py``)
- the model knows nothing of device meshes, precision policies or serving. The one opening is
  ``attend``: whoever runs the model may bring its own attention, and keep keys and values there.

Shapes are written ``(batch, time, width)``; ``width = heads * head_width``.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperclova.model.init import initialise
from hyperclova.model.shape import GPTConfig as GPTConfig
from hyperclova.model.sizes import size_named

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""``attend(layer, query, key, value)``: four-dimensional ``(batch, heads, time, head_width)`` in,
the attended values of the same shape out."""


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection for query, key and value.

    The projection's rows go head by head, ``(heads, 3, head_width)``: a contiguous part of them
    is whole heads, which is how tensor parallelism divides them.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.head_width, self.dropout = layer, config.head_width, config.dropout
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.query_norm, self.key_norm = _head_norm(config), _head_norm(config)
        self.query_scale = config.query_scale
        self.output = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, attend: Attend | None) -> Tensor:
        # (batch, time, heads, 3, head_width) -> three of (batch, time, heads, head_width)
        packed = self.query_key_value(x).unflatten(-1, (-1, 3, self.head_width))
        query, key, value = packed.unbind(3)
        query, key = self.query_norm(query), self.key_norm(key)
        if self.query_scale != 1.0:
            query = query * self.query_scale
        query, key, value = (each.transpose(1, 2) for each in (query, key, value))
        if attend is None:
            attended = functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, dropout_p=self.dropout if self.training else 0.0
            )
        else:
            attended = attend(self.layer, query, key, value)
        merged: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return merged


def _head_norm(config: GPTConfig) -> nn.Module:
    """One gain for each place in a head, shared by the heads."""
    if not config.query_key_norm:
        return nn.Identity()
    return nn.LayerNorm(config.head_width, config.layer_norm_epsilon, bias=False)


class MLP(nn.Module):
    """Two matrices around a GELU, four times as wide in between."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.width, 4 * config.width)
        self.contract = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        contracted: Tensor = self.contract(functional.gelu(self.expand(x), approximate="tanh"))
        return contracted


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and beside a residual path."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, config.layer_norm_epsilon)
        self.attention = Attention(config, layer)
        self.mlp_norm = nn.LayerNorm(config.width, config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, attend: Attend | None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), attend))
        y: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return y


class GPT(nn.Module):
    """A decoder-only language model.

    The weights are drawn on construction, a pure function of ``seed`` and each parameter's name
    (:mod:`hyperclova.model.init`); on the ``meta`` device nothing is drawn.
    """

    def __init__(self, config: GPTConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.position_embedding = nn.Embedding(config.context_length, config.width)
        self.dropout = nn.Dropout(config.dropout)
        # Keyed by global index, so that a layer keeps its name wherever it runs.
        self.blocks = nn.ModuleDict({str(i): Block(config, i) for i in range(config.layers)})
        self.final_norm = nn.LayerNorm(config.width, config.layer_norm_epsilon)
        initialise(self, config.layers, seed, config.matrix_factor)

    @classmethod
    def from_size(
        cls, name: str, vocab_size: int = 51_200, context_length: int = 2048, seed: int = 0
    ) -> "GPT":
        """One of the paper's eight sizes (Table 2) by name, for example ``"1.3B"``.

        Raises:
            UserError: there is no such size; the message names the eight.
        """
        size = size_named(name)
        return cls(GPTConfig(vocab_size, context_length, size.layers, size.width, size.heads), seed)

    def forward(
        self,
        tokens: Tensor | None = None,
        *,
        embeddings: Tensor | None = None,
        positions: Tensor | None = None,
        attend: Attend | None = None,
    ) -> Tensor:
        """Logits ``(batch, time, vocab_size)`` of the next token at every position.

        Args:
            tokens: ids ``(batch, time)``, int64.
            embeddings: ``(batch, time, width)`` in place of tokens (soft prompts); positions are
                still added.
            positions: ``(batch, time)``, int64; None counts from 0.
            attend: attention in place of causal attention over this call's tokens.

        Raises:
            ValueError: not exactly one of ``tokens`` and ``embeddings``.
        """
        return self.project(
            self.hidden(tokens, embeddings=embeddings, positions=positions, attend=attend)
        )

    def hidden(
        self,
        tokens: Tensor | None = None,
        *,
        embeddings: Tensor | None = None,
        positions: Tensor | None = None,
        attend: Attend | None = None,
    ) -> Tensor:
        """The states ``(batch, time, width)`` that :meth:`project` turns into logits."""
        if (tokens is None) == (embeddings is None):
            raise ValueError("give either tokens or embeddings")
        if embeddings is None:
            embeddings = self.token_embedding(tokens)
        x = self.embed(embeddings, positions)
        for block in self.blocks.values():
            x = block(x, attend)
        return self.finish(x)

    def embed(self, embeddings: Tensor, positions: Tensor | None = None) -> Tensor:
        """What the first block takes: ``(batch, time, width)``, positions added."""
        if positions is None:
            positions = torch.arange(embeddings.shape[1], device=embeddings.device)
        x: Tensor = self.dropout(embeddings + self.position_embedding(positions))
        return x

    def finish(self, x: Tensor) -> Tensor:
        """States for :meth:`project` from what the last block gives; same shape."""
        normed: Tensor = self.final_norm(x)
        return normed if self.config.width_factor == 1.0 else normed * self.config.width_factor

    def project(self, hidden: Tensor) -> Tensor:
        """Logits ``(..., vocab_size)`` from states ``(..., width)``: the tied head."""
        return functional.linear(hidden, self.token_embedding.weight)
