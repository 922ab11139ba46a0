"""The shipped classifier ranks Korean by how it is written, fast and without failing."""

import math
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus.quality import QualityModel, score, shipped
from hyperclova.corpus.quality.features import BUCKETS, LIMIT, SHARES, extract, fold
from hyperclova.errors import UserError

ARTICLES = [
    "수원 화성은 조선 후기에 쌓은 성곽으로, 경기도 수원시에 있다. 정조가 아버지의 무덤을 옮기면서 "
    "1794년에 공사를 시작하여 1796년에 완성하였다. 벽돌과 돌을 함께 쓴 축성 방식은 당시의 기술을 "
    "잘 보여 주며, 1997년에 세계 유산으로 등재되었다.",
    "광합성은 식물이 빛 에너지를 이용하여 이산화 탄소와 물로 유기물을 만드는 과정이다. 엽록체에서 "
    "일어나며, 명반응과 암반응으로 나뉜다. 이 과정에서 산소가 방출된다.",
    "소나무는 소나무과에 속하는 상록 침엽수이다. 한반도 전역에 분포하며, 건조하고 척박한 땅에서도 "
    "잘 자란다. 목재는 예로부터 건축 재료로 널리 쓰였다.",
]
CHATTER = [
    "ㅋㅋㅋㅋㅋㅋ 아 진짜 개웃겨ㅋㅋㅋ 이거 보고 배꼽 빠지는줄ㅠㅠ 강추강추!!",
    "아 진짜 시간 아깝다... 돈 주고 본 내가 호구지ㅠㅠ 평점 알바 좀 그만해라 제발",
    "안녕하세요~~ 오늘은 강남역 맛집 다녀온 후기 올려볼게용!! 분위기 너무 좋았구요 사장님도 넘 "
    "친절하셔서 기분이 좋았답니당 ㅎㅎ 다음에 또 갈게요~~^^",
    "지금 바로 전화주세요!! 당일대출 무직자 OK 최저금리 무료상담~~ 놓치지 마세요!!",
]


@pytest.mark.parametrize("article", ARTICLES)
@pytest.mark.parametrize("chatter", CHATTER)
def test_an_article_ranks_above_chatter_and_advertising(article: str, chatter: str) -> None:
    assert score(article) > 0.8
    assert score(chatter) < 0.2


def test_layout_is_not_judged() -> None:
    plain = ARTICLES[0]
    marked = "# " + plain.replace(". ", ".\n\n- **").replace("조선", "[조선](#joseon)")
    assert score(marked) == pytest.approx(score(plain), abs=0.05)


def test_length_is_not_judged() -> None:
    assert score(ARTICLES[0]) == pytest.approx(score("\n".join([ARTICLES[0]] * 9)), abs=0.05)
    assert score(CHATTER[0] * 9) < 0.2


def test_of_a_text_without_hangul_nothing_is_known() -> None:
    for text in ("", " \n", "Call me Ishmael.", "吾輩は猫である。", "1234", "🎉🎉"):
        assert score(text) == 0.5
    assert score("ㅋㅋㅋㅋㅋㅋ") < 0.2


@given(st.text())
def test_any_text_has_a_score_and_always_the_same(text: str) -> None:
    first = score(text)
    assert 0 <= first <= 1
    assert first == score(text)


@given(st.text(alphabet="가나다ㅋㅠ 1.,!\n#*ab漢🎉\ud800", max_size=60))
def test_features_are_finite_and_in_range(text: str) -> None:
    features = extract(text)
    assert np.isfinite(features.dense).all() and features.dense.shape == (len(SHARES),)
    assert features.indices.size == 0 or features.indices.max() < BUCKETS
    assert 0 <= score(text) <= 1


def test_folding_drops_markup_and_runs() -> None:
    assert fold("**가나**  \n\n (다) 2026").tolist() == fold("가나 다 7").tolist()
    assert fold("abc").size == 0
    assert fold("ㅋㅋㅋ").size == 3  # how much somebody laughs is how it is written


def test_only_the_beginning_counts() -> None:
    text = "가나다라 " * LIMIT
    assert score(text) == score(text[:LIMIT])


def test_the_norm_is_the_euclidean_one() -> None:
    features = extract("가나가나가나다")
    counts = np.bincount(features.indices, minlength=BUCKETS)
    weights = np.linspace(-1, 1, BUCKETS, dtype=np.float32)
    model = QualityModel(weights, np.zeros(len(SHARES), np.float32), bias=0.25)
    expected = 0.25 + weights.astype(float) @ counts / np.linalg.norm(counts)
    assert model.decision(features) == pytest.approx(expected, rel=1e-6)


def test_calibration_is_a_sigmoid_that_never_overflows() -> None:
    nothing = np.zeros(BUCKETS, np.float32)
    for offset, expected in ((0.0, 0.5), (1e4, 1.0), (-1e4, 0.0), (math.log(3), 0.75)):
        model = QualityModel(nothing, np.zeros(len(SHARES), np.float32), 0.0, 1.0, offset)
        assert model.score("가") == pytest.approx(expected)


def test_save_and_load_give_the_same_scores_and_bytes(tmp_path: Path) -> None:
    model = shipped()
    model.save(tmp_path / "a.npz")
    again = QualityModel.load(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.npz").stat().st_size < 1_000_000
    assert [again.score(text) for text in ARTICLES] == [model.score(text) for text in ARTICLES]


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_a_broken_file_is_told_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "quality.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"quality\.npz: not a quality classifier"):
        QualityModel.load(path)


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.npz: can't be read"):
        QualityModel.load(tmp_path / "missing.npz")


def test_weights_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        QualityModel(np.zeros(8, np.float32), np.zeros(len(SHARES), np.float32), 0.0)


def test_decomposed_hangul_is_jamo() -> None:
    # The rule "unicode" composes it first; the classifier must not fail on it.
    assert 0 <= score(unicodedata.normalize("NFD", ARTICLES[0])) <= 1
