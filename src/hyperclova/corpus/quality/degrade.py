"""Bad text made of good text: the classifier's negatives that differ in nothing but quality.

Crawled kinds of text differ from an encyclopedia in subject and register as well, and a classifier
takes whatever tells them apart. A degraded copy has the subject and the register of its original,
so what tells the two apart is the damage. Each kind of damage stands for one that crawled pages
show; several are known from the filters of C4 (Raffel et al. 2020, §2.2) and Gopher (Rae et al.
2021, Appendix A), which are rules for the same.
"""

import itertools
import random
import re
from collections.abc import Callable

Damage = Callable[[str, random.Random], str]
"""A text and the source of its randomness -> a worse text, of about the same length."""

_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n+")
_ENDING = re.compile(
    r"(?:은|는|이|가|을|를|의|에|에서|에게|으로|로|와|과|도|만|한다|했다|된다|이다|입니다|합니다|다|요)"
    r"[.,!?]*$"
)
_MENU = (
    *(
        "홈",
        "로그인",
        "회원가입",
        "고객센터",
        "이용약관",
        "개인정보처리방침",
        "장바구니",
        "전체보기",
    ),
    *("마이페이지", "공지사항", "더보기", "이전글", "다음글", "목록", "검색", "카테고리", "최신글"),
    *(
        "인기글",
        "댓글 0",
        "조회 12",
        "좋아요",
        "공유하기",
        "구독",
        "이웃추가",
        "맨 위로",
        "사이트맵",
    ),
)
_OFFERS = (
    *("지금 바로 전화주세요", "무료 상담 신청", "최저가 보장", "당일 배송", "선착순 할인 이벤트"),
    *(
        "카톡 문의 환영",
        "클릭하면 바로 확인",
        "한 달 만에 효과",
        "추천 업체 순위",
        "가격 비교 후기",
    ),
    *("신청만 하면 사은품", "놓치지 마세요", "24시간 상담 가능", "실시간 인기", "정품 직구 할인"),
)
_TAILS = ("ㅋㅋ", "ㅋㅋㅋㅋ", "ㅠㅠ", "ㅎㅎ", "ㄷㄷ", "ㅡㅡ", "~~", "!!", "!!!", "...", ";;", "^^")


def shuffled(text: str, generator: random.Random) -> str:
    """Words of each stretch in another order, as machines leave them."""
    words = text.split()
    width = generator.choice((5, 9, 20, len(words) or 1))
    for start in range(0, len(words), width):
        part = words[start : start + width]
        generator.shuffle(part)
        words[start : start + width] = part
    return " ".join(words)


def spliced(text: str, generator: random.Random) -> str:
    """Pieces of a few words from all over the text in one row, as spun articles have them."""
    words = text.split()
    pieces: list[str] = []
    while len(pieces) < len(words):
        start = generator.randrange(len(words))
        pieces += words[start : start + generator.randint(1, 4)]
    return " ".join(pieces)


def chained(text: str, generator: random.Random) -> str:
    """A chain of words in which each one followed the one before it somewhere (Markov's)."""
    words = text.split()
    if not words:
        return text
    # By the last syllable alone: there are few repeated words in a short text.
    following: dict[str, list[str]] = {}
    for word, after in itertools.pairwise(words):
        following.setdefault(word[-1], []).append(after)
    chain = [generator.choice(words)]
    while len(chain) < len(words):
        chain.append(generator.choice(following.get(chain[-1][-1], words)))
    return " ".join(chain)


def garbled(text: str, generator: random.Random) -> str:
    """Syllables read wrongly, as by a bad scanner: some of them with another vowel or consonant."""
    share = generator.uniform(0.05, 0.3)

    def misread(character: str) -> str:
        if not "가" <= character <= "힣" or generator.random() > share:
            return character
        code = ord(character) - 0xAC00
        first, vowel, last = code // 588, code // 28 % 21, code % 28
        part = generator.randrange(3)
        if part == 0:
            first = generator.randrange(19)
        elif part == 1:
            vowel = generator.randrange(21)
        else:
            last = generator.randrange(28)
        return chr(0xAC00 + first * 588 + vowel * 28 + last)

    return "".join(map(misread, text))


def misdecoded(text: str, generator: random.Random) -> str:
    """Stretches decoded with the wrong table, what cannot be decoded left out."""
    parts = re.split(r"(\s+)", text)
    share = generator.uniform(0.2, 0.8)
    return "".join(
        part.encode("utf-8", "ignore").decode("cp949", "ignore")
        if generator.random() < share
        else part
        for part in parts
    )


def unspaced(text: str, generator: random.Random) -> str:
    """Spaces lost, and others in the middle of words, as text from PDF files has them."""
    lost, wrong = generator.choice(((0.9, 0.0), (0.5, 0.1), (0.2, 0.4), (0.0, 0.6)))
    characters = []
    for character in text:
        if character == " " and generator.random() < lost:
            continue
        characters.append(character)
        if "가" <= character <= "힣" and generator.random() < wrong:
            characters.append(" ")
    return "".join(characters)


def menus(text: str, generator: random.Random) -> str:
    """The names of things without sentences: navigation, lists of titles, tags."""
    stems = [stem for word in text.split() if len(stem := _ENDING.sub("", word)) > 1]
    size, lines = 0, []
    while stems and size < len(text):
        line = " ".join(generator.choices(stems, k=generator.randint(1, 3)))
        if generator.random() < 0.3:
            line = generator.choice(_MENU)
        lines.append(line)
        size += len(line) + 1
    return generator.choice(("\n", " ", " | ", ", ")).join(lines)


def stuffed(text: str, generator: random.Random) -> str:
    """A few keywords again and again, between offers: pages written for search engines."""
    stems = [stem for word in text.split() if len(stem := _ENDING.sub("", word)) > 1]
    if not stems:
        return text
    keywords = generator.choices(stems, k=generator.randint(2, 5))
    sentences = [part for part in _SENTENCE.split(text) if part]
    size, parts = 0, []
    while size < len(text):
        chance = generator.random()
        if chance < 0.6:
            part = " ".join(generator.choices(keywords, k=generator.randint(2, 6)))
        elif chance < 0.85:
            part = generator.choice(_OFFERS) + generator.choice(("", "!", "!!", "~", "."))
        else:
            part = generator.choice(sentences)[:60]
        parts.append(part)
        size += len(part) + 1
    return " ".join(parts)


def repeated(text: str, generator: random.Random) -> str:
    """One or two sentences until the length is reached."""
    sentences = [part for part in _SENTENCE.split(text) if part] or [text]
    chosen = [s[:200] for s in generator.choices(sentences, k=generator.choice((1, 1, 2)))]
    count = max(2, len(text) // (sum(map(len, chosen)) + len(chosen)))
    return " ".join(chosen * count)


def snippets(text: str, generator: random.Random) -> str:
    """Sentences cut off at both ends, as lists of search results show them."""
    cut = []
    for sentence in _SENTENCE.split(text):
        words = sentence.split()
        if len(words) > 3:
            start = generator.randrange(len(words) // 2)
            end = generator.randint(start + 2, len(words) - 1)
            cut.append(" ".join(words[start:end]))
    return (
        generator.choice((" ... ", "...\n", " … ", " ", "\n")).join(cut) or text[: len(text) // 2]
    )


def typed(text: str, generator: random.Random) -> str:
    """Typed without care: no full stops, lost particles, doubled signs, loose jamo."""
    careless = generator.uniform(0.1, 0.6)
    words: list[str] = []
    for word in text.split():
        if generator.random() < careless:
            word = word.rstrip(".,")
            chance = generator.random()
            if chance < 0.4:
                word = _ENDING.sub("", word) or word
            elif chance < 0.6:
                word += generator.choice(_TAILS)
            elif chance < 0.8 and words:
                words[-1] += word
                continue
        words.append(word)
    return " ".join(words)


DAMAGES: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        *(shuffled, spliced, chained, garbled, misdecoded, unspaced),
        *(menus, stuffed, repeated, snippets, typed),
    )
}
"""By name, in a fixed order."""
