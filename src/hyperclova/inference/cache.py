"""Keys and values of the tokens already read, in chunks that sequences share, and attention.

A sequence's keys and values lie in **chunks** of 256 positions. A full chunk is never written
again, so any number of sequences may hold it; the last, partial one has one writer, and whoever
else goes on from it copies the part it needs (copy on write).

Attention runs sequence by sequence and, for a prompt, **block** by block of 64 positions counted
from its beginning: what a token computes depends on the tokens before it and its place, not on
what else runs, on how a prompt was cut into pieces, or on where its keys and values came from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hyperclova.model import GPTConfig

CHUNK = 256
"""Positions whose keys and values are held, shared and given back together."""
BLOCK = 64
"""Positions of a prompt that are read, compared and reused together; divides ``CHUNK``."""


class Chunk:
    """Keys and values of ``CHUNK`` positions in all layers; memory comes as it is filled."""

    def __init__(self, store: Tensor) -> None:
        """
        Args:
            store: ``(layers, 2, heads, CHUNK, head_width)``: keys, then values.
        """
        self.store = store
        # Views cost more than small products on them: they are made once.
        self.layers = [(layer[0], layer[1]) for layer in store]

    @property
    def bytes(self) -> int:
        return self.store.nbytes

    def copy(self, positions: int) -> "Chunk":
        """A chunk of its own with the first ``positions``."""
        store = torch.empty_like(self.store)
        store[:, :, :, :positions] = self.store[:, :, :, :positions]
        return Chunk(store)


class KeyValues:
    """Keys and values of one sequence: ``length`` positions are stored."""

    def __init__(
        self,
        config: GPTConfig,
        dtype: torch.dtype,
        device: torch.device,
        chunks: Sequence[Chunk] = (),
        length: int = 0,
    ) -> None:
        """
        Args:
            chunks: shared ones that hold the first ``length`` positions.
        """
        self._config, self._dtype, self._device = config, dtype, device
        self.chunks = list(chunks)
        self.length = length
        self._mine = False  # whether positions may be written behind `length` in the last chunk

    def fork(self) -> "KeyValues":
        """A sequence that shares all that is stored so far and goes on by itself."""
        return KeyValues(self._config, self._dtype, self._device, self.chunks, self.length)

    def reserve(self, tokens: int) -> None:
        """Make room for so many positions beyond ``length``.

        Raises:
            ValueError: they do not fit into the model's context.
        """
        end = self.length + tokens
        if end > self._config.context_length:
            raise ValueError(
                f"{end} tokens do not fit into a context of {self._config.context_length}"
            )
        used = self.length % CHUNK
        if used and not self._mine:
            self.chunks[-1] = self.chunks[-1].copy(used)
        while len(self.chunks) * CHUNK < end:
            config = self._config
            shape = (config.layers, 2, config.heads, CHUNK, config.head_width)
            store = torch.empty(shape, dtype=self._dtype, device=self._device)
            self.chunks.append(Chunk(store))
        self._mine = True


@dataclass(frozen=True)
class Span:
    """The next ``tokens`` positions of one sequence, for which room has been reserved."""

    cache: KeyValues
    tokens: int


class SpanAttention:
    """``attend`` for the spans of several sequences, laid one after another in one row.

    After the forward pass, :meth:`advance` makes the written positions count.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._pieces = list(_pieces(spans))
        self._places = [piece.begin for piece in self._pieces if isinstance(piece, _Position)]

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        positions = iter(self._positions(query, key, value))
        attended = [
            piece.attend(layer, *next(positions))
            if isinstance(piece, _Position)
            else piece.attend(
                layer,
                query[:, :, piece.begin : piece.end],
                key[0, :, piece.begin : piece.end],
                value[0, :, piece.begin : piece.end],
            )
            for piece in self._pieces
        ]
        return torch.cat(attended, dim=1)[None]

    def advance(self) -> None:
        for span in self._spans:
            span.cache.length += span.tokens

    def _positions(
        self, query: Tensor, key: Tensor, value: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """For each lone position: its query ``(heads, 1, head_width)``, scaled, and its key and
        value ``(2, heads, head_width)``. All are cut in a few operations, not each by itself."""
        if not self._places:
            return iter(())
        count = len(self._places)
        chosen = slice(count) if self._places[-1] == count - 1 else torch.tensor(self._places)
        queries = query[0, :, chosen].transpose(0, 1).unsqueeze(2) * query.shape[-1] ** -0.5
        both = torch.stack([key[0, :, chosen], value[0, :, chosen]])
        return zip(queries.unbind(0), both.transpose(0, 2).transpose(1, 2).unbind(0), strict=True)


class _Position:
    """One position of one sequence, by itself in its span or block: a token being written."""

    def __init__(self, begin: int, chunks: Sequence[Chunk], place: int) -> None:
        """
        Args:
            begin: where it stands among all the tokens of this pass.
            place: its place in the last of ``chunks``.
        """
        self.begin = begin
        store = chunks[-1].store
        # Views of all layers at once: one by one they cost more than the products.
        self._written = store[:, :, :, place].unbind(0)
        self._keys = store[:, 0, :, : place + 1].transpose(-1, -2).unbind(0)
        self._values = store[:, 1, :, : place + 1].unbind(0)
        self._before = chunks[:-1]

    def attend(self, layer: int, query: Tensor, both: Tensor) -> Tensor:
        """Store its key and value; attend to all that stands before it and to itself.

        Two small products, which take half the time of the kernel for many positions.
        """
        self._written[layer].copy_(both)
        scores = torch.bmm(query, self._keys[layer])
        if not self._before:
            return torch.bmm(scores.softmax(-1), self._values[layer])
        held = [chunk.layers[layer] for chunk in self._before]
        parts = [*(torch.bmm(query, keys.transpose(1, 2)) for keys, _ in held), scores]
        shares: Sequence[Tensor] = torch.split(
            torch.cat(parts, dim=-1).softmax(-1), [part.shape[-1] for part in parts], dim=-1
        )
        attended = torch.bmm(shares[-1], self._values[layer])
        for share, (_, values) in zip(shares[:-1], held, strict=True):
            attended.baddbmm_(share, values)
        return attended


class _Block:
    """Neighbouring positions of one sequence within one block."""

    def __init__(self, begin: int, tokens: int, chunks: Sequence[Chunk], place: int) -> None:
        """
        Args:
            begin: where they stand among all the tokens of this pass.
            place: the first one's place in the last of ``chunks``.
        """
        self.begin, self.end = begin, begin + tokens
        self._before, self._chunk = chunks[:-1], chunks[-1]
        self._place, self._until = place, place + tokens
        store = self._chunk.store
        unseen = torch.ones(tokens, self._until, dtype=torch.bool).triu(place + 1)
        mask = torch.zeros(tokens, self._until, dtype=store.dtype)
        self._mask = mask.masked_fill_(unseen, float("-inf")).to(store.device)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Store keys and values ``(heads, tokens, head_width)``; attend from ``query``
        ``(1, heads, tokens, head_width)`` to all that stands before each."""
        keys, values = self._chunk.layers[layer]
        keys[:, self._place : self._until] = key
        values[:, self._place : self._until] = value
        keys, values = keys[None, :, : self._until], values[None, :, : self._until]
        before = [
            (held_keys[None], held_values[None])
            for held_keys, held_values in (chunk.layers[layer] for chunk in self._before)
        ]
        if query.device.type != "cpu":
            return self._attend_joined(query, [*before, (keys, values)])[0]
        last = _flash(query, keys, values, attn_mask=self._mask)
        if not before:
            return last[0][0]
        # Softmax over all keys from softmaxes over each chunk's: weigh each chunk's result by its
        # share of the sum of exponentials (Dao et al. 2022, arXiv:2205.14135, §3.1).
        parts = [*(_flash(query, *each) for each in before), last]
        shares = torch.stack([sums for _, sums in parts]).softmax(0).unsqueeze(-1)
        return torch.stack([attended for attended, _ in parts]).mul_(shares).sum(0)[0]

    def _attend_joined(self, query: Tensor, chunks: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        keys = torch.cat([keys for keys, _ in chunks], dim=2)
        values = torch.cat([values for _, values in chunks], dim=2)
        mask = functional.pad(self._mask, (keys.shape[2] - self._until, 0))
        return functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)


def _pieces(spans: Sequence[Span]) -> Iterator[_Position | _Block]:
    at = 0
    for span in spans:
        position = span.cache.length
        end = position + span.tokens
        while position < end:
            until = min(end, (position // BLOCK + 1) * BLOCK)
            chunks = span.cache.chunks[: position // CHUNK + 1]
            store = chunks[-1].store
            if until - position == 1 and store.is_cpu and store.dtype == torch.float32:
                yield _Position(at, chunks, position % CHUNK)
            else:
                yield _Block(at, until - position, chunks, position % CHUNK)
            at += until - position
            position = until


def _flash(
    query: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attended values and the logarithms of the sums of exponentials ``(1, heads, tokens)``."""
    both: tuple[Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, keys, values, attn_mask=attn_mask
    )
    return both
