"""Training the quality classifier, from files to weights, figures, pictures and worst errors."""

import json
import os
import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hyperclova.cli.corpus_quality import train_quality
from hyperclova.corpus.documents import read_documents
from hyperclova.corpus.quality import QualityModel, evaluate, score, train
from hyperclova.corpus.quality.degrade import DAMAGES
from hyperclova.errors import UserError

_PLACES = ("강릉", "공주", "나주", "남원", "안동", "여수", "전주", "진주", "춘천", "통영", "해남")
_THINGS = ("성곽", "사찰", "향교", "서원", "항구", "저수지", "박물관", "다리", "정자", "도서관")
_LAUGHTER = ("ㅋㅋㅋ", "ㅎㅎㅎ", "ㅠㅠ", "~~", "!!!", "ㅋㅋ")
_SUBJECTS = [(n, *names) for n, names in enumerate(product(_PLACES, _THINGS, range(5)))]


def articles() -> list[str]:
    return [
        f"{place} {thing}은 {place}시에 있는 {thing}이다. {1400 + n}년에 처음 세워졌으며, "
        f"{1500 + n}년에 고쳐 지었다. 지금은 문화유산으로 지정되어 보호를 받고 있다. "
        f"규모는 {30 + kind}칸이며 건축의 특징을 잘 간직하였다."
        for n, place, thing, kind in _SUBJECTS
    ]


def comments() -> list[str]:
    return [
        f"{place} {thing} 갔다왔는데 완전 좋음{_LAUGHTER[n % 6]} 근데 사람 넘 많아요 "
        f"주차 {n % 40}분 기다림{_LAUGHTER[n % 5]} 진짜 짜증났지만 또 갈거임 강추{_LAUGHTER[kind]}"
        for n, place, thing, kind in _SUBJECTS
    ]


def write(path: Path, source: str, texts: Sequence[str], licence: str = "own") -> Path:
    lines = [
        json.dumps(
            {"id": f"{path.stem}-{n}", "source": source, "licence": licence, "text": text},
            ensure_ascii=False,
        )
        for n, text in enumerate(texts)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sklearn")
    directory = tmp_path_factory.mktemp("quality")
    application = typer.Typer()
    application.command()(train_quality)
    laws = [article.replace("시에", "군에") for article in articles()]
    letters = [article.replace("이다.", "이에요.") for article in articles()[:60]]
    blogs = [f"{comment} 이웃추가 해주세용" for comment in comments()]
    arguments = [
        *("--positive", write(directory / "articles.jsonl", "wiki", articles())),
        *("--positive", write(directory / "laws.jsonl", "others", laws)),
        *("--negative", write(directory / "comments.jsonl", "comments", comments())),
        *("--negative", write(directory / "blogs.jsonl", "blog", blogs)),
        *("--unlabelled", write(directory / "letters.jsonl", "blog", letters)),
        *("--output", directory / "out"),
    ]
    result = CliRunner().invoke(application, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return directory / "out"


def test_what_was_trained_tells_the_two_apart(trained: Path) -> None:
    model = QualityModel.load(trained / "quality.npz")
    article = "보성 향교는 보성군에 있는 향교이다. 1397년에 세워졌으며 보호를 받고 있다."
    comment = "보성 녹차밭 갔다왔는데 대박 좋음ㅋㅋㅋ 강추강추!!!"
    menu = "보성 | 향교 | 로그인 | 보성군 향교 | 전체보기 | 보호 | 회원가입"
    assert model.score(article) > 2 * model.score(comment)
    assert model.score(article) > 2 * model.score(menu)


def test_figures_are_of_every_evaluation(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["trained_on"].keys() == {"articles", "laws", "comments", "blogs", "letters"}
    found = metrics["evaluations"]
    for name in ("held-out documents", "held-out kinds", "held-out kinds, 50 characters"):
        assert found[name]["roc_auc"] > 0.95
    for row in found.values():
        assert 0 <= row["brier"] < 0.5
        assert sum(point["share"] for point in row["reliability"]) == pytest.approx(1)
    # Kinds are left out together: no other two are scored by the same classifier.
    foreign = found["held-out kinds"]["roc_auc_by_group"]
    assert {good: set(bad) for good, bad in foreign.items()} == {
        "articles": {"comments"},
        "laws": {"blogs"},
    }


def test_report_pictures_and_worst_errors_are_written(trained: Path) -> None:
    report = (trained / "report.md").read_text(encoding="utf-8")
    assert "held-out kinds, degraded" in report and "| articles |" in report
    for name in ("quality-curves.png", "quality-groups.png"):
        assert (trained / name).read_bytes().startswith(b"\x89PNG")
    worst = (trained / "worst-errors.txt").read_text(encoding="utf-8")
    assert worst.count("===") == 2 * len(
        json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["evaluations"]
    )
    section = worst.split("===")[2].strip().split("\n\n")
    errors = [
        1 - float(entry[:6]) if "  positive  " in entry else float(entry[:6]) for entry in section
    ]
    assert errors == sorted(errors, reverse=True)


def test_the_same_files_give_the_same_weights() -> None:
    texts = [train.Text(str(n), "wiki", a, True) for n, a in enumerate(articles())]
    texts += [train.Text(f"c{n}", "comments", c, False) for n, c in enumerate(comments())]
    windows = list(train.windows(texts))
    first, second = (train.fit(train.Examples.of(windows)) for _ in range(2))
    assert (first.weights == second.weights).all() and first.bias == second.bias


def test_windows_join_short_texts_and_are_no_longer_than_asked() -> None:
    texts = [train.Text(str(n), "comments", "짧은 글이다.", False) for n in range(300)]
    texts += [train.Text(f"w{n}", "wiki", "긴 글이 이어진다. " * 900, True) for n in range(60)]
    windows = list(train.windows(texts))
    assert max(len(w.text) for w in windows) <= train.LIMIT
    assert any(w.text.count("\n") > 3 for w in windows if not w.good)
    assert len([w for w in windows if w.good]) >= 60 * 3
    assert len({w.id for w in windows}) == len(windows)
    assert {w.group for w in windows if "짧은" in w.text} == {"comments"}


def test_texts_cut_to_one_length_have_it() -> None:
    texts = [train.Text(str(n), "comments", "짧은 글이다.", False) for n in range(300)]
    texts += [train.Text(f"w{n}", "wiki", "긴 글이 이어진다. " * 90, True) for n in range(60)]
    found = train.cut(texts, 50, most=20)
    assert {len(text.text) for text in found} == {50}
    assert [text.group for text in found] == ["comments"] * 20 + ["wiki"] * 20


def test_what_all_texts_of_a_pair_share_is_not_learned() -> None:
    """Subject and register are in both texts of a pair; the damage is in one."""
    pytest.importorskip("sklearn")
    texts = [train.Text(str(n), "wiki", a, None) for n, a in enumerate(articles())]
    texts += [train.Text(f"c{n}", "comments", c, None) for n, c in enumerate(comments())]
    labelled = [train.Text(f"p{n}", "one", "가나다라 마바사.", True) for n in range(20)]
    labelled += [train.Text(f"n{n}", "two", "가나다라 마바사.", False) for n in range(20)]
    model = train.fit(train.Examples.of([*labelled, *texts]))
    better = [
        model.score(original.text) > model.score(copy.text)
        for original, copy in (
            (texts[index], copy) for index, copy in train.degraded(texts, copies=1, seed=1)
        )
    ]
    assert sum(better) / len(better) > 0.8
    gap = model.score(articles()[3]) - model.score(comments()[3])
    assert abs(gap) < 0.4


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_text_is_another_of_about_the_same_length(name: str) -> None:
    text = " ".join(articles()[:12])
    worse = DAMAGES[name](text, random.Random(5))
    assert worse != text
    assert 0.3 * len(text) < len(worse) < 2 * len(text)
    assert DAMAGES[name](text, random.Random(5)) == worse
    for short in ("", "가", "\n", "abc"):
        DAMAGES[name](short, random.Random(5))


def test_kinds_and_damages_are_left_out_once_each() -> None:
    texts = [train.Text("1", kind, "글", True) for kind in ("a", "b", "c")]
    texts += [train.Text("2", kind, "글", False) for kind in ("d", "e")]
    found = evaluate.folds(texts)
    assert len(found) == 2
    names = ["a", "b", "c", "d", "e", *DAMAGES]
    assert sorted(name for fold in found for name in fold) == sorted(names)
    for fold in found:
        assert fold & {"a", "b", "c"} and fold & {"d", "e"} and fold & DAMAGES.keys()


def test_documents_are_sampled_alike_whatever_their_order(tmp_path: Path) -> None:
    texts = articles()
    there = write(tmp_path / "a.jsonl", "wiki", texts)
    lines = there.read_text(encoding="utf-8").splitlines()
    other = tmp_path / "other" / "a.jsonl"
    other.parent.mkdir()
    other.write_text("\n".join(reversed(lines)), encoding="utf-8")
    sample = train.gather([there], True, characters=2000)
    assert sample == train.gather([other], True, characters=2000)
    assert 1500 < sum(len(text.text) for text in sample) <= 2000
    assert sample != train.gather([there], True, characters=2000, seed=1)


def test_split_is_by_identity_and_complete() -> None:
    texts = [train.Text(str(n), "wiki", "글", True) for n in range(2000)]
    parts = train.split(texts)
    assert sorted(t.id for part in parts for t in part) == sorted(t.id for t in texts)
    assert [len(part) / 2000 for part in parts] == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_too_little_to_train_on_is_told() -> None:
    pytest.importorskip("sklearn")
    texts = [train.Text(str(n), "wiki", a, True) for n, a in enumerate(articles())]
    with pytest.raises(UserError, match="only 0 negative pages"):
        train.fit(train.Examples.of(texts))


@pytest.mark.data
@pytest.mark.parametrize("name", ["wiki", "blog", "cafe"])
def test_shipped_classifier_finds_damage_in_real_text(name: str) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    pretrain = Path(os.environ["HYPERCLOVA_DATA"]) / "pretrain"
    texts = []
    for document in read_documents([pretrain / f"{name}.jsonl.zst"]):
        if len(document.text) >= 400:
            texts.append(document.text[:400])  # of equal length
        if len(texts) == 150:
            break
    good = [score(text) for text in texts]
    for damage in ("menus", "stuffed", "misdecoded", "unspaced"):
        bad = [score(DAMAGES[damage](t, random.Random(n))) for n, t in enumerate(texts)]
        area = metrics.roc_auc_score([1] * len(good) + [0] * len(bad), good + bad)
        assert area > 0.85, damage
