"""What can be set about a generation: names, sentences, ranges and defaults, in one place.

The Playground's panel, its JSON twin, the desk and the validation of ``/v1/completions`` all
read from here, so a range shown is a range enforced. The wire defaults are OpenAI's; the
Playground's are chosen for writing Korean with a base model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hyperclova.inference.validation import LONGEST_STOP

Language = Literal["ko", "en"]
Kind = Literal["number", "integer", "strings"]
Group = Literal["basic", "repetition", "advanced", "probabilities"]
Value = float | int | list[str] | None

STOP_LIMIT = 4
"""Stop strings in one request (OpenAI's limit)."""
LOGIT_BIAS_LIMIT = 100.0
"""Largest absolute logit bias (OpenAI's limit)."""

GROUPS: Mapping[Group, Mapping[Language, str]] = {
    "basic": {"ko": "기본", "en": "Basics"},
    "repetition": {"ko": "반복 줄이기", "en": "Less repetition"},
    "advanced": {"ko": "자세히", "en": "Details"},
    "probabilities": {"ko": "확률 보기", "en": "Probabilities"},
}


@dataclass(frozen=True)
class Parameter:
    """One thing a person or a program can set about a generation."""

    name: str
    """Its name on the wire."""
    kind: Kind
    label: Mapping[Language, str]
    sentence: Mapping[Language, str]
    """What it does, for someone who has never heard of it."""
    group: Group
    minimum: float | int | None
    maximum: float | int | None
    step: float | int | None
    default: Value
    """Where the Playground starts."""
    wire_default: Value
    """What leaving it out of a request means (OpenAI's default where OpenAI has the field)."""
    slider: tuple[float, float] | None = None
    """The part of the range worth a slider; None for parameters that are typed."""

    def describe(self) -> dict[str, Any]:
        """The definition as plain JSON data; both languages are included."""
        return {
            "name": self.name,
            "kind": self.kind,
            "group": self.group,
            "label": dict(self.label),
            "sentence": dict(self.sentence),
            "min": self.minimum,
            "max": self.maximum,
            "step": self.step,
            "slider_min": self.slider[0] if self.slider else None,
            "slider_max": self.slider[1] if self.slider else None,
            "default": self.default,
        }

    def check(self, value: Any) -> str | None:
        """Why ``value`` is not allowed, as the end of a sentence ("must be …"); None if it is.

        None as a value means "not set" and is always allowed.
        """
        if value is None:
            return None
        if self.kind == "strings":
            return _check_strings(value)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if self.kind == "integer" and not whole:
            return f"must be a whole number{self._range()}"
        if not whole and not isinstance(value, float):
            return f"must be a number{self._range()}"
        if not self._inside(value):
            return f"must be{self._range() or ' a finite number'}"
        return None

    def _inside(self, value: float) -> bool:
        low, high = self.minimum, self.maximum
        # Written so that NaN, which compares false with everything, is refused.
        return (low is None or value >= low) and (high is None or value <= high)

    def _range(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f" from {self.minimum} to {self.maximum}"
        return f" of at least {self.minimum}" if self.minimum is not None else ""


def _check_strings(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return "must be a list of strings"
    if len(value) > STOP_LIMIT:
        return f"must have at most {STOP_LIMIT} strings"
    if not all(value):
        return "must not contain an empty string"
    if max(map(len, value), default=0) > LONGEST_STOP:
        return f"must have strings of at most {LONGEST_STOP} characters"
    return None


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="temperature",
        kind="number",
        label={"ko": "다양성", "en": "Variety"},
        sentence={
            "ko": "높을수록 뜻밖의 표현이 나오고, 0이면 언제나 가장 그럴듯한 말을 골라요.",
            "en": "Higher values surprise you more; 0 always takes the likeliest token.",
        },
        group="basic",
        minimum=0,
        maximum=2,
        step=0.05,
        default=0.7,
        wire_default=1.0,
        slider=(0, 2),
    ),
    Parameter(
        name="top_p",
        kind="number",
        label={"ko": "상위 확률", "en": "Nucleus"},
        sentence={
            "ko": "확률이 높은 말부터 더해 이 값이 될 때까지만 후보로 삼아요. 1이면 모두 후보예요.",
            "en": "Only the likeliest tokens that together reach this probability may be chosen; "
            "1 keeps all.",
        },
        group="basic",
        minimum=0,
        maximum=1,
        step=0.01,
        default=0.9,
        wire_default=1.0,
        slider=(0, 1),
    ),
    Parameter(
        name="max_tokens",
        kind="integer",
        label={"ko": "최대 길이", "en": "Length limit"},
        sentence={
            "ko": "한 번에 쓰는 글의 길이예요. 토큰은 대략 한 형태소예요.",
            "en": "The most tokens written at once; a token is roughly one morpheme.",
        },
        group="basic",
        minimum=0,
        maximum=1_048_576,  # the context of the model is the real limit, checked per request
        step=1,
        default=100,
        wire_default=16,
        slider=(1, 512),
    ),
    Parameter(
        name="stop",
        kind="strings",
        label={"ko": "멈춤 문자열", "en": "Stop at"},
        sentence={
            "ko": "이 글자가 나오기 직전에 멈춰요. 네 개까지 넣을 수 있어요.",
            "en": "Writing ends just before any of these strings; up to four.",
        },
        group="basic",
        minimum=None,
        maximum=None,
        step=None,
        default=[],
        wire_default=None,
    ),
    Parameter(
        name="repetition_penalty",
        kind="number",
        label={"ko": "되풀이 벌점", "en": "Repetition penalty"},
        sentence={
            "ko": "앞글에 이미 나온 말이 덜 나오게 해요. 1이면 아무것도 바꾸지 않아요.",
            "en": "Makes tokens that already stand in the text less likely; 1 changes nothing.",
        },
        group="repetition",
        minimum=0.1,
        maximum=10,
        step=0.05,
        default=1.1,
        wire_default=1.0,
        slider=(1, 2),
    ),
    Parameter(
        name="frequency_penalty",
        kind="number",
        label={"ko": "빈도 벌점", "en": "Frequency penalty"},
        sentence={
            "ko": "이번에 쓴 글에서 자주 나온 말일수록 더 피해요. 0이면 아무것도 바꾸지 않아요.",
            "en": "Avoids a token more the more often it was just written; 0 changes nothing.",
        },
        group="repetition",
        minimum=-2,
        maximum=2,
        step=0.1,
        default=0,
        wire_default=0.0,
        slider=(-2, 2),
    ),
    Parameter(
        name="presence_penalty",
        kind="number",
        label={"ko": "등장 벌점", "en": "Presence penalty"},
        sentence={
            "ko": "이번에 쓴 글에 한 번이라도 나온 말을 피해요. 0이면 아무것도 바꾸지 않아요.",
            "en": "Avoids every token that was just written at least once; 0 changes nothing.",
        },
        group="repetition",
        minimum=-2,
        maximum=2,
        step=0.1,
        default=0,
        wire_default=0.0,
        slider=(-2, 2),
    ),
    Parameter(
        name="top_k",
        kind="integer",
        label={"ko": "상위 개수", "en": "Candidates"},
        sentence={
            "ko": "가장 그럴듯한 말을 이 개수만큼만 후보로 삼아요. 0이면 모두 후보예요.",
            "en": "Only this many of the likeliest tokens may be chosen; 0 keeps all.",
        },
        group="advanced",
        minimum=0,
        maximum=1_000_000,
        step=1,
        default=0,
        wire_default=0,
        slider=(0, 128),
    ),
    Parameter(
        name="seed",
        kind="integer",
        label={"ko": "난수 씨앗", "en": "Seed"},
        sentence={
            "ko": "같은 씨앗과 같은 설정이면 같은 글이 나와요. 비우면 매번 달라져요.",
            "en": "The same seed and settings write the same text; empty is new each time.",
        },
        group="advanced",
        minimum=-(2**63),
        maximum=2**63 - 1,
        step=1,
        default=None,
        wire_default=None,
    ),
    Parameter(
        name="logprobs",
        kind="integer",
        label={"ko": "후보 개수", "en": "Alternatives"},
        sentence={
            "ko": "낱말마다 확률과 함께 다른 후보를 이 개수만큼 보여 줘요. 비우면 보이지 않아요.",
            "en": "Shows each token's probability and this many alternatives; empty shows none.",
        },
        group="probabilities",
        minimum=0,
        maximum=5,
        step=1,
        default=None,
        wire_default=None,
    ),
)
"""What the Playground's panel offers, in its order."""

REQUEST_ONLY: tuple[Parameter, ...] = (
    Parameter(
        name="n",
        kind="integer",
        label={"ko": "결과 개수", "en": "Choices"},
        sentence={
            "ko": "같은 글을 이 개수만큼 따로 이어 써요.",
            "en": "How many continuations of each prompt come back.",
        },
        group="advanced",
        minimum=1,
        maximum=128,
        step=1,
        default=1,
        wire_default=1,
    ),
    Parameter(
        name="best_of",
        kind="integer",
        label={"ko": "고르기 전 개수", "en": "Best of"},
        sentence={
            "ko": "이 개수만큼 쓴 뒤 토큰마다의 평균 확률이 가장 높은 글을 돌려줘요.",
            "en": "How many are written; the ones with the highest mean log-probability come back.",
        },
        group="advanced",
        minimum=1,
        maximum=20,
        step=1,
        default=None,
        wire_default=None,
    ),
)
"""What a request can set but the panel does not show."""

BY_NAME: Mapping[str, Parameter] = {item.name: item for item in (*PARAMETERS, *REQUEST_ONLY)}

PROBABILITY_CHOICES = 5
"""Alternatives the Playground asks for when probabilities are shown."""


def definitions() -> list[dict[str, Any]]:
    """Everything the Playground's panel needs, in its order, as plain JSON data."""
    return [parameter.describe() for parameter in PARAMETERS]


def groups() -> list[dict[str, Any]]:
    """The panel's groups in order: ``{"name", "label": {"ko", "en"}}``."""
    return [{"name": name, "label": dict(label)} for name, label in GROUPS.items()]


def defaults() -> dict[str, Value]:
    """The Playground's starting values by name."""
    return {
        item.name: list(item.default) if isinstance(item.default, list) else item.default
        for item in PARAMETERS
    }
