"""An authored build: Korean documents, sent through a few rules and counted by a real tally."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hyperclova.corpus.anonymise import anonymise
from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Verdict
from hyperclova.corpus.tally import Tally, Volume

SENTENCES = {
    "blog": (
        "주말에 부모님을 모시고 강릉에 다녀왔는데, 바닷가 카페에서 마신 커피가 오래 기억에 남는다.",
        "이번 글에서는 집에서 된장찌개를 맛있게 끓이는 방법을 순서대로 적어 보려고 합니다.",
    ),
    "cafe": (
        "안녕하세요, 가입 인사 드립니다. 저는 대전에 살고 강아지 두 마리를 키우고 있어요.",
        "중고로 산 자전거 브레이크가 자꾸 밀리는데 혹시 고쳐 보신 분 계신가요?",
    ),
    "news": (
        "시는 내년부터 시내버스 요금을 조정하는 방안을 검토하고 있다고 밝혔다.",
        "기상청은 이번 주말 중부 지방에 많은 비가 내리겠다고 내다봤다.",
    ),
    "comments": (
        "배우들 연기가 정말 좋았고 결말도 마음에 들었어요 ㅎㅎ",
        "기대보다 지루했지만 음악은 좋네요",
    ),
    "kin": (
        "전세 계약이 끝나면 보증금은 언제 돌려받을 수 있나요? 만료일에 돌려받는 것이 원칙입니다.",
    ),
    "modu": ("오늘 회의에서는 지난달에 정한 목표를 얼마나 이루었는지 하나씩 살펴보겠습니다.",),
    "wiki": (
        "두루미는 두루밋과에 속하는 큰 새로, 겨울이면 철원 평야를 찾아와 지낸다.",
        "훈민정음은 1443년에 세종이 창제하고 1446년에 반포한 문자 체계이다.",
    ),
    "others": ("제1조 이 규칙은 도서관의 이용에 필요한 사항을 정함을 목적으로 한다.",),
}
ATTACK = '<script>document.title = "hacked"</script><img src=x onerror="document.title=1">'
"""Shows up as what it is wherever text of the corpus is quoted, or the page is broken."""

Step = Callable[[Document], Verdict]


@dataclass
class AuthoredBuild:
    """Takes documents through steps as a build would, and counts."""

    tally: Tally = field(default_factory=Tally)
    order: list[str] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    read: int = 0

    def take(self, documents: Iterable[Document]) -> None:
        self.documents = list(documents)
        self.read = len(self.documents)
        for document in self.documents:
            self.tally.before.setdefault(document.source, Volume()).add(document.text)

    def step(self, label: str, step: Step) -> None:
        self.order.append(label)
        kept = []
        for document in self.documents:
            verdict = step(document)
            self.tally.note(label, document, verdict)
            if verdict.document is not None:
                kept.append(verdict.document)
        self.documents = kept

    def write_twice(self, source: str) -> None:
        effect = self.tally.effects["sampling"][source]
        copies = [document for document in self.documents if document.source == source]
        effect.changed += len(copies)
        self.documents += copies

    def finish(self, output: Path, tokens: dict[str, Any] | None, **config: Any) -> Path:
        for number, document in enumerate(self.documents):
            self.tally.after.setdefault(document.source, Volume()).add(document.text)
            if number % 50 == 7:
                held_out = self.tally.held_out
                held_out[document.source] = held_out.get(document.source, 0) + 1
        output.mkdir(parents=True, exist_ok=True)
        record = {
            "format": 1,
            "config": {
                "inputs": [{"path": "raw/*.jsonl"}],
                "rules": [],
                "finish": [],
                "sampling": {"held_out": 0.02, "epochs": {"wiki": 2.0}},
                "duplicates": {"enabled": True, "shingle": 5, "similarity": 0.8},
                **config,
            },
            "versions": {"hyperclova": "0.1.0", "python": "3.11.7", "numpy": "2.4.6"},
            "inputs": [
                {"path": "raw/글.jsonl", "bytes": 81234, "documents": self.read, "quarantined": 3},
                {"path": f"raw/{ATTACK}.jsonl", "bytes": 0, "documents": 0, "quarantined": 0},
            ],
            "tally": self.tally.to_mapping(),
            "order": self.order,
            "tokens": tokens,
            "outputs": [
                {
                    "path": "train/blog-00000.jsonl.zst",
                    "source": "blog",
                    "documents": len(self.documents),
                    "bytes": 31234,
                }
            ],
        }
        (output / "build.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
        return output


def documents(count: int = 400) -> list[Document]:
    """Documents of every source, of many lengths; some have personal data, some attack pages."""
    found = []
    for number in range(count):
        for source, sentences in SENTENCES.items():
            if source in ("kin", "modu", "others") and number % 5:
                continue
            lines = [
                f"{sentences[(number + line) % len(sentences)]} ({number}번째 글의 {line + 1}째 줄)"
                for line in range(1 + (number * 7 + len(source)) % 11)
            ]
            if number % 9 == 0:
                lines.append(
                    f"문의는 010-2345-{6000 + number} 또는 minsu.kim{number}@naver.com 으로 주세요."
                )
            if number % 13 == 0:
                lines.insert(0, f"{ATTACK} 태그가\u202e 든\u200b 글")
            if number % 17 == 0:
                lines = ["ㅋㅋ"]
            if number % 19 == 0:
                lines = ["This page is not available in your country. Please try again later."]
            title = f"{sentences[0][:12]} {ATTACK if number % 13 == 0 else number}"
            found.append(Document(f"{source}.jsonl:{number}", source, title, "\n".join(lines)))
    return found


def tidy(document: Document) -> Verdict:
    text = document.text.replace("\u202e", "").replace("\u200b", "")
    if text == document.text:
        return Verdict(document)
    return Verdict(replace(document, text=text), "two invisible characters removed")


def short(document: Document) -> Verdict:
    if len(document.text) >= 20:
        return Verdict(document)
    return Verdict(None, f"{len(document.text)} characters, fewer than 20", len(document.text))


def alike(document: Document) -> Verdict:
    if document.id.endswith(("4", "8")):
        return Verdict(
            None, f"<b>like</b> {document.source}.jsonl:1, Jaccard similarity 0.93", 0.93
        )
    return Verdict(document)


def leaked(document: Document) -> Verdict:
    if document.source == "comments" and document.id.endswith("5"):
        return Verdict(None, "holds an example of nsmc")
    return Verdict(document)


def half(document: Document) -> Verdict:
    if document.source == "news" and int(document.id.rpartition(":")[2]) % 2:
        return Verdict(None, "not sampled")
    return Verdict(document)


def mask(document: Document) -> Verdict:
    result = anonymise(document.text)
    if not result.masked:
        return Verdict(document)
    return Verdict(replace(document, text=result.text), f"{len(result.masked)} masked")


def prefix(document: Document) -> Verdict:
    text = f"Web, Title: {document.title[:12]}, Body: {document.text}"
    return Verdict(replace(document, text=text), "prefixed")


TOKENS = {
    "tokenizer": "hyperclova-small",
    "by_source": {
        source: {
            "tokens_per_byte": 0.2 + number / 100,
            "standard_error": 0.0011,
            "sampled_bytes": 20_000,
        }
        for number, source in enumerate(SENTENCES)
    },
}
RULES = [
    {"rule": "whitespace"},
    {"rule": "too-short", "characters": 20},
    {"rule": "too-short", "characters": 20, "sources": ["comments", "cafe"]},
]
FINISH = [{"rule": "anonymise"}, {"rule": "prefix"}]


def full_build(output: Path, tokens: dict[str, Any] | None = TOKENS) -> Path:
    """A build in which everything happens."""
    build = AuthoredBuild()
    build.take(documents())
    build.step("whitespace", tidy)
    build.step("too-short", short)
    build.step("too-short (comments, cafe)", Verdict)
    build.step("repeated-lines", Verdict)
    build.step("exact-duplicate", Verdict)
    build.step("near-duplicate", alike)
    build.step("contaminated:nsmc", leaked)
    build.step("contaminated:korquad", Verdict)
    build.step("sampling", half)
    build.write_twice("wiki")
    build.step("anonymise", mask)
    build.step("prefix", prefix)
    return build.finish(output, tokens, rules=RULES, finish=FINISH)


def small_build(output: Path) -> Path:
    """One example of everything a page can show."""
    build = AuthoredBuild()
    chosen = {f"{source}.jsonl:{n}" for source in ("wiki", "news") for n in (9, 13, 17, 18, 19)}
    build.take(document for document in documents(20) if document.id in chosen)
    build.step("whitespace", tidy)
    build.step("too-short", short)
    build.step("contaminated:nsmc", Verdict)
    build.step("sampling", half)
    build.write_twice("wiki")
    build.step("anonymise", mask)
    return build.finish(output, TOKENS, rules=RULES[:2], finish=FINISH[:1])
