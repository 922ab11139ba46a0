"""Requests for gradients, checked and laid out as rows of tokens. No torch.

A row holds one request with all its choices: the prompt once, and after it each choice without
its last token, which nothing has to read::

    place     0 1 2 3   4 5       6
    holds     p p p p   긍 정     부        (target "긍정적", rival "부정")
    position  0 1 2 3   4 5       4
    branch    0 0 0 0   1 1       2

Tokens see the prompt and what stands before them in their own branch. So a choice among words of
one token each costs no more than the prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperclova.errors import UserError
from hyperclova.inference.protocol import GradientRequest
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.inference.validation import check_id, check_pieces

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Row:
    """A request as the model reads it; arrays are int64 and as long as the row unless said so."""

    ids: Integers
    """Token ids; 0 where a soft prompt stands."""
    soft: tuple[tuple[int, SoftPrompt], ...]
    """Soft prompts and the places where they begin."""
    positions: Integers
    branches: Integers
    """0 for the prompt, ``1 + c`` for tokens of choice ``c``."""
    prompt: int
    """Tokens of the prompt. The state before the first choice and all after it predict."""
    wanted: Integers
    """Places, of any number, whose gradient is asked for."""
    choices: tuple[tuple[int, ...], ...]
    """Token ids of the target and of its rivals."""
    places: Integers
    """For each token of each choice, one after another, the place whose state predicts it."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def states(self) -> int:
        """How many states predict something: the last ones of the row."""
        return len(self) - self.prompt + 1

    @property
    def branched(self) -> bool:
        """Whether tokens stand after others that they must not see."""
        return sum(len(choice) > 1 for choice in self.choices) > 1


class RowBuilder:
    """Lays out requests for one model.

    Args:
        encode: text to token ids.
        vocabulary_size: ids that may be used are below it.
        context_length: the most tokens of a prompt and its target together.
        width: of the model's input embeddings.
    """

    def __init__(
        self,
        encode: Callable[[str], Sequence[int]],
        vocabulary_size: int,
        context_length: int,
        width: int,
    ) -> None:
        self._encode = encode
        self._vocabulary_size = vocabulary_size
        self._context_length = context_length
        self._width = width

    def build(self, request: GradientRequest) -> Row:
        """Tokenise, check and lay out.

        Raises:
            UserError: nothing to read, to predict or to differentiate at; a token id or a soft
                prompt that is not of this model; a rival that is the target; too many tokens
                for the context. The message names the field.
        """
        ids, soft = self._prompt(request.prompt)
        targets = [self._target("target", request.target)]
        for number, rival in enumerate(request.choices):
            tokens = self._target(f"choices[{number}]", rival)
            if tokens in targets:
                same = targets.index(tokens)
                raise UserError(
                    f"choices[{number}] has the same tokens as "
                    f"{f'choices[{same - 1}]' if same else 'the target'}; "
                    "name each rival once, and the target not among them"
                )
            targets.append(tokens)
        choices = tuple(targets)
        self._check_length(len(ids), max(map(len, choices)))
        return _lay_out(ids, soft, self._wanted(request, len(ids), soft), choices)

    def _prompt(
        self, pieces: tuple[str | int | SoftPrompt, ...]
    ) -> tuple[list[int], tuple[tuple[int, SoftPrompt], ...]]:
        check_pieces(pieces, self._vocabulary_size, self._width)
        ids: list[int] = []
        soft = []
        for piece in pieces:
            if isinstance(piece, str):
                ids += self._encode(piece)
            elif isinstance(piece, SoftPrompt):
                soft.append((len(ids), piece))
                ids += [0] * len(piece)
            else:
                ids.append(piece)
        if not ids:
            raise UserError("prompt is empty; it must hold a token or a soft prompt")
        return ids, tuple(soft)

    def _target(self, field: str, target: str | tuple[int, ...]) -> tuple[int, ...]:
        tokens = tuple(self._encode(target) if isinstance(target, str) else target)
        for token in tokens:
            check_id(field, token, self._vocabulary_size)
        if not tokens:
            raise UserError(f"{field} is empty; it must hold a token")
        return tokens

    def _check_length(self, prompt: int, longest: int) -> None:
        if prompt + longest > self._context_length:
            raise UserError(
                f"prompt has {prompt} tokens and the longest target {longest}, but the model's "
                f"context holds {self._context_length}: shorten the prompt"
            )

    @staticmethod
    def _wanted(
        request: GradientRequest, prompt: int, soft: tuple[tuple[int, SoftPrompt], ...]
    ) -> Integers:
        if request.positions == "all":
            return np.arange(prompt)
        if not soft:
            raise UserError(
                "positions is 'soft', but prompt holds no soft prompt; give one, or ask for 'all'"
            )
        return np.concatenate([start + np.arange(len(piece)) for start, piece in soft])


def _lay_out(
    prompt: list[int],
    soft: tuple[tuple[int, SoftPrompt], ...],
    wanted: Integers,
    choices: tuple[tuple[int, ...], ...],
) -> Row:
    length = len(prompt)
    ids = list(prompt)
    positions = list(range(length))
    branches = [0] * length
    places: list[int] = []
    for number, choice in enumerate(choices):
        places += [length - 1, *range(len(ids), len(ids) + len(choice) - 1)]
        ids += choice[:-1]
        positions += range(length, length + len(choice) - 1)
        branches += [1 + number] * (len(choice) - 1)
    return Row(
        np.array(ids, dtype=np.int64),
        soft,
        np.array(positions, dtype=np.int64),
        np.array(branches, dtype=np.int64),
        length,
        wanted,
        choices,
        np.array(places, dtype=np.int64),
    )
