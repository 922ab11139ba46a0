"""The rule low-quality: by a threshold, or with GPT-3's dice that always fall alike."""

from pathlib import Path

import pytest

from hyperclova.configuration import build
from hyperclova.corpus.documents import Document
from hyperclova.corpus.quality import score, shipped
from hyperclova.corpus.rules.quality import LowQuality
from hyperclova.errors import UserError

GOOD = (
    "한라산은 제주도의 중앙부에 있는 화산으로, 높이는 1,947미터이다. 남한에서 가장 높은 산이며, "
    "정상에는 백록담이라는 화구호가 있다. 1970년에 국립 공원으로 지정되었고, 식생이 높이에 따라 "
    "달라 학술적 가치가 높다."
)
BAD = (
    "헐 대박ㅋㅋㅋㅋ 어제 한라산 갔다왔는데 진짜 넘 힘들었어ㅠㅠㅠ 다리 후들후들ㅋㅋㅋ 근데 경치는 "
    "완전 예뻤음!! 담에 또 가자 했더니 친구가 절대 안간대ㅋㅋㅋㅋㅋ 나도 사실 안갈거임ㅋㅋㅋㅋ "
    "암튼 사진 올릴게요~~~"
)
MIDDLING = (
    "제가 이 책을 읽고 느낀 것은 저자의 말이 결국 우리의 이야기라는 점이었습니다. 처음에는 조금 "
    "지루했지만 갈수록 재미있었고, 마지막 장에서는 눈물이 났습니다. 여러분도 꼭 읽어 보세요. "
    "도서관에서 빌릴 수 있습니다."
)


def document(text: str, identifier: str = "1", source: str = "blog") -> Document:
    return Document(id=identifier, source=source, title="", text=text)


def test_by_the_threshold() -> None:
    rule = LowQuality(minimum=0.3)
    good = document(GOOD)
    assert rule(good).document is good
    verdict = rule(document(BAD))
    assert verdict.document is None
    assert verdict.measure == score(BAD)
    assert f"{score(BAD):.3f}" in verdict.reason and "0.3" in verdict.reason


def test_short_texts_are_not_judged() -> None:
    short = document(BAD[:60])
    assert LowQuality(minimum=0.99)(short).document is short
    assert LowQuality(minimum=0.99)(short).measure is None


def test_other_sources_are_let_be() -> None:
    comment = document(BAD, source="comments")
    assert LowQuality(minimum=0.9, sources=("blog", "cafe"))(comment).document is comment


def test_pareto_keeps_the_share_that_the_formula_says() -> None:
    rule = LowQuality(pareto=9)
    for text in (GOOD, MIDDLING, BAD):
        kept = sum(rule(document(text, str(n))).document is not None for n in range(800))
        expected = (2 - score(text)) ** -9  # P(X > x) = (1 + x)^-9 at x = 1 - score
        assert kept / 800 == pytest.approx(expected, abs=0.05)


def test_pareto_falls_alike_every_time() -> None:
    documents = [document(MIDDLING, str(n)) for n in range(50)]
    first = [LowQuality(pareto=1)(d) for d in documents]
    assert first == [LowQuality(pareto=1)(d) for d in reversed(documents)][::-1]
    assert {v.document is None for v in first} == {True, False}
    assert all("draw" in v.reason for v in first if v.document is None)


def test_own_weights(tmp_path: Path) -> None:
    shipped().save(tmp_path / "own.npz")
    rule = LowQuality(minimum=0.3, weights=tmp_path / "own.npz")
    assert rule(document(BAD)).measure == pytest.approx(score(BAD))
    with pytest.raises(UserError, match=r"gone\.npz"):
        LowQuality(weights=tmp_path / "gone.npz")(document(BAD))


@pytest.mark.parametrize("settings", [{"minimum": 1.5}, {"minimum": -0.1}, {"pareto": -1.0}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        build(LowQuality, settings, "corpus.toml")
