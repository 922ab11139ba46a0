"""Texts on which tokenizers have failed, and a strategy that makes more of them."""

import unicodedata

from hypothesis import strategies as st

HARD_TEXTS = {
    "emoji with joiners and flags": "가족 👨‍👩‍👧‍👦 깃발 🇰🇷🇰🇵 살색 👍🏽 무지개 🏳️‍🌈",
    "rare hanja": "㐀㒥龘靐齉𠀀𠮷𪚥𫝀 大韓民國",
    "old Hangul": "나랏말ᄊᆞ미 듕귁에 달아 ᅌᅵᆯᄊᆡ ꥠᆞퟋ 〮〯",
    "loose jamo": "ㄱㄴㄷ ㅏㅑ ㅋㅋㅋㅠㅠ ㅇㅋ재밌다ㅎㅎ ㄳ",
    "broken jamo": "ᄀ ᆨᅡ ᅡᄀᄀᆨ 각 ᇿᅟᅠ",
    "decomposed": unicodedata.normalize("NFD", "아버지가 방에 들어가신다."),
    "zero width and byte order mark": "\ufeff가\u200b나\u200c다\u200d라\u2060마\ufeff",
    "tabs, CRLF, blank lines": "첫째\t둘째\r\n\r\n셋째\r\n\n\n\n넷째\v다섯째\f여섯째\r",
    "leading and trailing spaces": "   앞뒤로 빈칸   ",
    "white space only": " \t \n  \n\n\r\n   ",
    "spaces": " " * 77,
    "newlines": "\n" * 55,
    "empty": "",
    "NUL and controls": "가\x00나\x00\x00 다\x01\x02\x1b[0m\x7f\x80\x85\x9f라\x00",
    "unit separator": "\x1f가\x1f\x1f나 \x1f 다\n\x1f\n라\x1f",
    "other separators": "가\x1c나\x1d다\x1e라\u2028마\u2029바\x85사",
    "no-break and ideographic space": "가\u00a0나\u3000다\u2003라\u202f마 \u00a0 바",
    "Latin glued to Hangul": "iPhone을 LG전자가ABC방송국에서API로",
    "private use": "\ue000\uf8ff\U000f0000가",
    "replacement character": "\ufffd가\ufffd\ufffd나",
    "long run": "가나다라마" * 1000,
    "punctuation": "!?.,;:~" * 430,
    "one word of letters": "a" * 3000,
    "astral letters": "𝓗𝓮𝓵𝓵𝓸 𝔸𝕊ℂ𐌰𐌱𐍈",
    "right to left": "שלום עולם مرحبا بالعالم \u202e뒤집힘\u202c",
    "combining marks": "é ä̈̈ Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚ 가̂나̃",
    "special tokens": "<|endoftext|> 가<|endoftext|>나 <unk></s><pad> <|im_start|>",
    "HTML": '<p class="글">안녕&nbsp;하세요 &lt;b&gt;</p><!-- 주석 -->',
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "code": "def f(x):\n    return x  # 설명\n\tif True: pass\n",
}

# Characters that the parts of the tokenizer treat in special ways, thrown together.
_SPECIAL = (
    " \n\t\r\v\f\0\x1c\x1d\x1e\x1f\x85\u00a0\u2028\u3000\u200b\u200d\ufeff\ufffd"
    "가나다은는이힣ㄱㅋㅎㅏㅠ\u1100\u1161\u11a8國語𠮷👨👩🏽🇰aZ0'.,!?~<|>\U0010ffff"
)

texts = st.one_of(
    st.text(),  # arbitrary Unicode; hypothesis leaves surrogates out of st.text's UTF-8 use
    st.text(alphabet=_SPECIAL, max_size=60),
    st.lists(
        st.sampled_from([*[text for text in HARD_TEXTS.values() if len(text) < 200], " ", "\n"]),
        max_size=5,
    ).map("".join),
).filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))
