"""What an engine takes and gives, as plain data.

Everything above the engine (Studio, evaluation, tuning) speaks in these types, whether the
engine runs in this process, in a child process or behind a remote server. No torch here: Studio
imports this module.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from hyperclova.inference.soft_prompt import SoftPrompt


class EngineError(Exception):
    """The engine cannot answer now; the message says why."""


class EngineDied(EngineError):  # noqa: N818 -- an event, told as one
    """The engine's process ended while it was answering, or there is none."""


class EngineBusy(EngineError):  # noqa: N818
    """Too many requests are under way already."""


FinishReason = Literal["stop", "length", "deadline", "cancelled"]

Prompt = str | tuple[str | int | SoftPrompt, ...]
"""A text, or pieces one after another: token ids, texts, soft prompts. Pieces of text are
tokenised each by itself."""

Pooling = Literal["mean", "last"]

Precision = Literal["float32", "bfloat16", "int8", "fast"]
"""In which an engine computes; ``fast`` is what serves best on its machine (for text, int8 costs
next to nothing; for scores to be compared with others', use float32)."""

Decoding = Literal["spans", "static", "graphs"]
"""How tokens are written: each sequence attends by itself (CPUs); in steps of fixed shapes over a
pool of keys and values (any device); these, captured as CUDA graphs."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. The defaults change nothing about the model's distribution.

    Applied in this order: repetition penalty, frequency and presence penalties, logit bias,
    temperature, top-k, top-p.
    """

    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token."""
    top_k: int = 0
    """Keep only the k most likely tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the smallest set of tokens whose probability reaches p (nucleus sampling)."""
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens seen in prompt or output (CTRL)."""
    frequency_penalty: float = 0.0
    """Subtracted per earlier occurrence in the output (OpenAI)."""
    presence_penalty: float = 0.0
    """Subtracted once from tokens that occur in the output (OpenAI)."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these token ids."""
    seed: int | None = None
    """Same seed, same text, alone or in a batch; None draws a fresh seed."""


@dataclass(frozen=True)
class Request:
    """One prompt to continue."""

    prompt: Prompt
    max_tokens: int = 16
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    """Generation ends before the first of these strings; they are never part of the output."""
    n: int = 1
    """Continuations of the same prompt; choice i samples with seed + i."""
    logprobs: int | None = None
    """Log-probabilities of the chosen token and of this many most likely ones; None for none."""
    echo: bool = False
    """Give back the prompt (with its log-probabilities, if asked for) before the continuation."""
    heal: bool | None = None
    """Let the continuation finish a word that the prompt leaves open; None: the engine decides."""
    deadline: float | None = None
    """Seconds from submission after which the request ends with what it has."""
    client: str = ""
    """Who asks. Places go to clients in turn, so that many requests of one don't stall others."""


@dataclass(frozen=True)
class TokenLogprob:
    """One token that could stand, or stands, at a position."""

    id: int
    text: str
    """The token alone, decoded; a token that is not whole UTF-8 reads ``bytes:\\x…``."""
    logprob: float | None
    """Natural logarithm under the model's own distribution (temperature 1, no penalties);
    None for the first token of a prompt."""


@dataclass(frozen=True)
class TokenResult(TokenLogprob):
    """A token of the output, its place, and its rivals."""

    offset: int = 0
    """Where its text begins, in characters from the start of the choice's returned text."""
    top: tuple[TokenLogprob, ...] = ()
    """The most likely tokens at this position, best first, if asked for."""


@dataclass(frozen=True)
class Chunk:
    """A piece of one choice as it is written. ``text`` is always whole characters."""

    choice: int
    text: str
    tokens: tuple[TokenResult, ...] = ()
    """Only if log-probabilities were asked for."""
    finish_reason: FinishReason | None = None
    """Set on the last chunk of a choice."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Tokens of this choice generated so far."""


@dataclass(frozen=True)
class Choice:
    text: str
    finish_reason: FinishReason
    tokens: tuple[TokenResult, ...] = ()


@dataclass(frozen=True)
class Completion:
    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int
    """Summed over the choices."""

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text


@dataclass(frozen=True)
class Score:
    """How likely a continuation is after a prompt."""

    tokens: tuple[int, ...]
    """Token ids of the continuation."""
    logprobs: tuple[float, ...]
    """Natural logarithm of each token's probability given all before it."""
    greedy: bool
    """Whether each token was the most likely one."""

    @property
    def total(self) -> float:
        return sum(self.logprobs)


@dataclass(frozen=True, eq=False)
class Gradients:
    """What :meth:`Backend.input_gradients` says of one prompt and its target."""

    loss: float
    """The loss whose gradient this is, natural logarithm."""
    logprobs: tuple[float, ...]
    """Log-probability of each target token given the prompt and the target before it."""
    gradient: Floats
    """``(positions, width)``: d loss / d input embedding at the positions asked for."""


@dataclass(frozen=True)
class GradientRequest:
    """A prompt, a target that should follow it, and a loss to differentiate."""

    prompt: tuple[str | int | SoftPrompt, ...]
    target: str | tuple[int, ...]
    positions: Literal["soft", "all"] = "soft"
    """Where the gradient is wanted: at the soft positions of the prompt, or at all of them."""
    choices: tuple[str | tuple[int, ...], ...] = ()
    """Rivals of the target. Empty: the loss is the target's mean negative log-likelihood a token
    (language modelling). Else: cross-entropy of the target among target and rivals, each scored
    by its summed log-probability (verbalizers)."""


@dataclass(frozen=True)
class Statistics:
    """What an engine is doing at this moment."""

    running: int
    """Continuations being written and prompts being read."""
    waiting: int
    """Requests that wait for a place."""
    cached_tokens: int
    """Tokens of prompts whose keys and values are kept for requests to come."""
    cache_bytes: int
    """Memory of the kept keys and values."""
    reused_tokens: int
    """Prompt tokens that did not have to be read again, since the start."""
    read_tokens: int
    """Prompt tokens read, since the start."""
    written_tokens: int
    """Tokens written, since the start."""


@dataclass(frozen=True)
class ModelInformation:
    """What a client may want to know about the loaded model."""

    name: str
    context_length: int
    vocabulary_size: int
    parameters: int
    tokenizer_fingerprint: str
    created: int
    """Seconds since the epoch at which the weights were written."""
    width: int
    """Of an embedding, and so of a soft prompt."""
    precision: str
    """In which the engine computes: float32, bfloat16 or int8; empty where nobody says."""


class Backend(Protocol):
    """What every engine can do, wherever it runs.

    Raises :class:`hyperclova.errors.UserError` for a prompt that does not fit into the context,
    and for values out of range; the message names the field.
    """

    @property
    def model(self) -> ModelInformation: ...

    def stream(self, request: Request) -> Iterator[Chunk]:
        """Chunks of all choices, interleaved as they are written. Closing it stops the work."""
        ...

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions of a batch, in order."""
        ...

    def score(self, prompt: Prompt, continuation: str) -> Score:
        """How likely ``continuation`` is after ``prompt``."""
        ...

    def score_choices(self, prompt: Prompt, continuations: Sequence[str]) -> list[Score]:
        """How likely each continuation is after the same prompt, which is read once."""
        ...

    def embed(self, prompts: Sequence[Prompt], pooling: Pooling = "mean") -> Floats:
        """The last layer's states ``(prompts, width)``, mean of all positions or the last one's."""
        ...

    def input_gradients(self, requests: Sequence[GradientRequest]) -> list[Gradients]:
        """Losses and their gradients with respect to input embeddings, in order."""
        ...

    def statistics(self) -> Statistics: ...
