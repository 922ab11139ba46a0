"""The model as the engine runs it: on a device, in a precision, with packed matrices."""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hyperclova.errors import UserError
from hyperclova.inference.attention import Span, SpanAttention
from hyperclova.inference.cache import Allocator, Chunk, KeyValues
from hyperclova.inference.graphs import GraphCapture
from hyperclova.inference.linear import Kind, PackedLinear, int8_available, kind_for, pack
from hyperclova.inference.native.decoder import NativeDecoder
from hyperclova.inference.native.linear import NativeInt8Linear, NativeLinear
from hyperclova.inference.native.openmp import use_threads
from hyperclova.inference.pool import ChunkPool
from hyperclova.inference.pooled import PooledAttention
from hyperclova.inference.protocol import Decoding, Precision
from hyperclova.inference.rows import rows_for
from hyperclova.inference.static import StaticDecoder
from hyperclova.model import GPT, GPTConfig
from hyperclova.model.cost import parameters
from hyperclova.model.directory import load_config, load_model
from hyperclova.model.gpt import Attend
from hyperclova.parallel.device import bfloat16_in_hardware

_WORTH_INT8 = 30_000_000
"""Parameters from which reading the weights takes longer than quantising activations by PyTorch's
operations; with kernels of our own it always does."""
_WORTH_THREADS = 30_000_000
"""Parameters from which sharing a step between threads gains more than they wait for each other."""
_WORTH_THREADS_TOKENS = 64
"""Tokens in a step from which that is so for smaller models. Only with kernels of our own, as
PyTorch's GELU may round differently on another number of threads."""


class Runner:
    """Runs a model directory's weights.

    Args:
        directory: a model directory.
        device: where to run; None takes a CUDA device if there is one.
        precision: of weights and products; None is bfloat16 on CUDA devices that compute in it,
            else float32; ``fast`` takes int8 on CPUs, for small models only with kernels of our
            own. ``int8`` quantises the matrices and is for CPUs. Logits are float32 always.
        decoding: how tokens are written; None is ``graphs`` on CUDA devices, ``spans`` on CPUs,
            ``static`` on others.
        rows, cache_bytes: where there is a pool of keys and values, what it is to have room for:
            sequences at once, and prompts that may come again.

    Raises:
        UserError: the directory holds no model that can be loaded, or the device cannot compute
            in that precision or decode in that way.
    """

    def __init__(
        self,
        directory: Path | str,
        device: torch.device | str | None = None,
        precision: Precision | None = None,
        *,
        decoding: Decoding | None = None,
        rows: int = 16,
        cache_bytes: int = 0,
    ) -> None:
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        if precision in (None, "fast"):
            precision = _precision(self.device, load_config(directory), precision == "fast")
        if precision == "int8" and self.device.type != "cpu":
            raise UserError(f"precision int8 is for CPUs, not for {self.device.type}: use bfloat16")
        self.precision = precision
        self.decoding = _decoding(self.device, decoding)
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        """Of activations, keys and values."""
        self._model: GPT = load_model(directory, dtype=self.dtype, device=self.device)
        self.config: GPTConfig = self._model.config
        self.parameters = sum(p.numel() for p in self._model.parameters())
        kind = kind_for(precision, self.device)
        self._threads, self._shared_from = torch.get_num_threads(), math.inf
        if self.parameters >= _WORTH_THREADS:
            self._shared_from = 1
        elif issubclass(kind, NativeLinear):
            self._shared_from = _WORTH_THREADS_TOKENS
        with warnings.catch_warnings():
            # torch tells everybody who quantises of its plans for another package.
            warnings.simplefilter("ignore")
            self._head = _head(self._model, kind)
            pack(self._model, kind)
        decodes = issubclass(kind, NativeLinear) and NativeDecoder.available(self.config)
        self._decoder = NativeDecoder(self._model) if decodes else None
        self._allocator = Allocator(self.config, self.dtype, self.device)
        self._pool = self._static = None
        if self.decoding != "spans":
            of = (self.config, self.dtype, self.device)
            self._pool = ChunkPool.for_rows(*of, rows, cache_bytes)
            capture = GraphCapture(self.device) if self.decoding == "graphs" else None
            self._static = StaticDecoder(
                self._model, self._pool, rows, rows_for(self._pool), capture
            )

    @property
    def independent_positions(self) -> bool:
        """Whether what a position of a prompt gives depends, to the last bit, on it and on what
        stands before it alone: not on which of its neighbours are read with it."""
        return self.decoding == "spans" and self._decoder is not None

    def sequence(self, chunks: Sequence[Chunk] = (), length: int = 0) -> KeyValues:
        """Keys and values of a sequence that begins with what ``chunks`` hold."""
        return KeyValues(self._pool or self._allocator, chunks, length)

    def reclaim_with(self, reclaim: Callable[[], bool]) -> None:
        """Call ``reclaim`` when there is no memory for more keys and values, until there is or it
        says that there is nothing more to give back."""
        if self._pool is not None:
            self._pool.reclaim = reclaim

    def states(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        spans: Sequence[Span],
        places: Sequence[int] = (),
        embeddings: Sequence[Tensor] = (),
    ) -> Tensor:
        """The states ``(tokens, width)`` after the next tokens of one or more sequences, which are
        stored.

        Args:
            ids, positions: of each token.
            spans: the sequences, in the same order.
            places: indices of tokens that are no tokens but rows of ``embeddings``, in order.
            embeddings: tensors ``(rows, width)``, float32.
        """
        self._share(len(ids))
        if self._pool is not None and self._static is not None:
            # Tokens being written come first; whatever else is single may go along.
            first = spans[: min([self._static.rows, *places[:1]])]
            written = sum(1 for _ in itertools.takewhile(lambda span: span.tokens == 1, first))
            found = []
            if written:
                tables = [[chunk.index for chunk in span.cache.chunks] for span in first[:written]]
                found.append(self._static.states(ids[:written], positions[:written], tables))
            if rest := spans[written:]:
                pooled = PooledAttention(rest, self._pool)
                places = [place - written for place in places]
                ids, positions = ids[written:], positions[written:]
                found.append(self._pass(ids, positions, pooled, places, embeddings))
            states = torch.cat(found)  # a copy: the next step writes over what it gave
        else:
            attend = SpanAttention(spans)
            single = attend.single
            if self._decoder is not None and single is not None and not places:
                states = self._decoder.states(ids, positions, single)
            else:
                states = self._pass(ids, positions, attend, places, embeddings)
        for span in spans:
            span.advance()
        return states

    def _share(self, rows: int) -> None:
        """Compute so many rows on as many threads as is worth while; and what comes after them."""
        use_threads(self._threads if rows >= self._shared_from else 1)

    def _pass(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        attend: Attend,
        places: Sequence[int],
        embeddings: Sequence[Tensor],
    ) -> Tensor:
        x = self._model.token_embedding(torch.tensor(ids, device=self.device))
        if places:
            x[list(places)] = torch.cat(list(embeddings)).to(x)
        at = torch.tensor(positions, device=self.device)
        return self._model.hidden(embeddings=x[None], positions=at, attend=attend)[0]

    def project(self, states: Tensor) -> Tensor:
        """Logits ``(rows, vocab_size)`` of states ``(rows, width)``, float32, on the device."""
        self._share(len(states))
        logits: Tensor = self._head(states.float())
        return logits


def _decoding(device: torch.device, asked: Decoding | None) -> Decoding:
    possible: dict[str, tuple[Decoding, ...]] = {
        "cpu": ("spans", "static"),
        "cuda": ("graphs", "static"),
    }
    here = possible.get(device.type, ("static",))
    if asked is not None and asked not in here:
        raise UserError(f"decoding {asked} is not for {device.type}: use {' or '.join(here)}")
    return asked or here[0]


def _precision(device: torch.device, config: GPTConfig, fast: bool) -> Precision:
    if device.type == "cuda":
        return "bfloat16" if bfloat16_in_hardware(device) else "float32"
    if not (fast and int8_available()):
        return "float32"
    worthwhile = NativeInt8Linear.available() or parameters(config) >= _WORTH_INT8
    return "int8" if worthwhile else "float32"


def _head(model: GPT, kind: Kind) -> nn.Module:
    # float32 where the model is bfloat16, whose logits would round log-probabilities to two
    # digits.
    weight = model.token_embedding.weight.detach().float()
    if kind is not PackedLinear or PackedLinear.available(weight):
        return kind(weight, None)
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    head.weight = nn.Parameter(weight, requires_grad=False)
    return head
