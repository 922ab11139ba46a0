"""What the lines of a news article are that are not its text."""

import re

_NAME = r"[가-힣]{2,4}"
_ROLE = (
    r"(?:(?:선임|수습|인턴|객원|전문|의학전문|과학전문|문화전문|대학생|시민|명예)\s?)?"
    r"(?:기자|특파원|통신원|리포터|논설위원|선임에디터|에디터)"
)
_MAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
_AUTHORS = rf"(?:{_NAME}(?:\s?[·,ㆍ]\s?{_NAME}){{0,4}}\s?{_ROLE})"
_PLACE = r"[가-힣A-Za-z·\s]{1,14}"
_RIGHTS = (
    r"(?:(?:[<\[(〈]\s*)?(?:ⓒ|©|\(c\)|copyrights?\b|저작권자)[^\n]{0,120}"
    r"(?:무단\s?(?:전재|복제|배포)|재\s?배포|rights\s+reserved|금지)[^\n]{0,40}"
    r"|(?:[<\[(〈-]\s*[^.\n]{0,30}|(?<!\S))무단\s?전재[^\n]{0,40}금지[^\n]{0,12})"
)
# What an article opens with: agency and place, author.
_OPENING = re.compile(
    rf"\s*(?:[\[(【〔<]\s*{_PLACE}\s?[=＝]\s?[^\])】〕>\n]{{1,40}}[\])】〕>]"
    rf"|[\[(【〔<]\s*[^\])】〕>\n=]{{0,20}}[\s=|/]?{_AUTHORS}(?:\s?{_MAIL})?\s*[\])】〕>]"
    rf"|{_AUTHORS}(?:\s?{_MAIL})?\s*[=＝](?!\s*\d)"
    rf"|/?{_PLACE}[=＝]{_AUTHORS}(?:\s?{_MAIL})?(?=\s))\s*[=＝]?\s*"
)
_AUTHOR_LINE = re.compile(
    rf"[/\[(=■▶#@<]*\s*(?:(?:글|취재|사진|정리|영상|편집|취재진)(?:[·,ㆍ/]\s?(?:글|사진|영상|편집))*\s*[=:]?\s*)?"
    rf"(?:{_PLACE}\s?[=＝/|]\s?)?"
    rf"(?:(?:{_AUTHORS})(?:\s*[/(|]?\s*{_MAIL}\)?)?(?:\s*[,·]\s*{_AUTHORS})*|{_MAIL}"
    rf"|[가-힣A-Za-z ]{{0,12}}(?:뉴스|이슈|취재|편집|콘텐츠|연예|스포츠)\s?"
    rf"(?:팀|부|국)(?:\s?{_MAIL})?)"
    rf"\s*[\])>=]*\s*"
)
_CLOSING_LINE = re.compile(
    rf"{_RIGHTS}|[^.\n]{{0,30}}무단\s?전재[^\n]{{0,40}}금지[^\n]{{0,12}}"
    r"|[▶☞▷◆■★●◇※→☎#<\[]+.{0,80}(?:바로\s?가기|구독|네이버|카카오|채널|클릭|제보|뉴스레터|더\s?보기"
    r"|다운로드|유튜브|페이스북|인스타|트위터|기사\s?보기|만나보세요|이벤트).{0,60}"
    r"|.{0,30}(?:기사\s?제보|제보는)\s.{0,60}"
    r"|\d{4}[/.-]\d{1,2}[/.-]\d{1,2}\s+\d{1,2}:\d{2}(?::\d{2})?\s*송고"
    r"|\(끝\)"
    r"|[/<\[(]?\s*(?:연합뉴스|뉴시스|뉴스1|노컷뉴스|OSEN|AP|AFP|로이터)\s*[>\])]?"
    r"|[\[(]?(?:사진\s?)?(?:출처|자료)\s?[=:：].{1,40}",
    re.IGNORECASE,
)
_DATE_LINE = re.compile(
    r"(?:기사\s?)?(?:입력|등록|승인|수정|최종\s?수정|최초\s?입력|작성|발행일?)(?:일시?|시간)?\s*[:：]?\s*"
    r"\d{4}\s?[.년/-]\s?\d{1,2}\s?[.월/-].{0,60}"
)
_CAPTION = re.compile(
    r"[▲△▼◀▶]\s?[^\n]{0,90}(?:사진|제공|캡처|자료|ⓒ|©|뉴시스|연합뉴스|뉴스1)[^\n]{0,24}"
    r"|[\[(/]?\s*사진\s?(?:=|제공|출처|\|)[^\n]{1,40}"
)
_CLOSING = re.compile(
    rf"\s*(?:{_RIGHTS}|(?<=[.!?”\"’'」』\])>])\s*[/=(\[]?\s*{_AUTHORS}(?:\s?[/(]?\s?{_MAIL}\)?)?\s*[\])]?"
    rf"|(?:{_AUTHORS}\s?)?[(\[]?{_MAIL}[)\]]?|\(끝\))\s*\Z",
    re.IGNORECASE,
)
_AFFILIATION = re.compile(
    rf"(?:[/■\-·=*(\[<]\s*)?(?:필자는\s?)?{_NAME}\s*[\s·|/(,:]\s*[^.!?\n=]{{0,30}}"
    r"(?:교수|연구원|연구위원|소장|원장|논설위원|칼럼니스트|변호사|평론가|전문위원|작가|대표|시인)\s*[)\]>]?"
    r"|\(?필자는[^\n]{0,60}(?:다|임)\.?\)?"
)
_HINTS = (
    *("기자", "특파원", "통신원", "리포터", "에디터", "논설위원", "뉴스", "이슈"),
    *("@", "=", "＝", "ⓒ", "©", "(c)", "(C)", "opyright", "OPYRIGHT", "저작권", "무단"),
    *(
        "(끝)",
        "송고",
        "사진",
        "출처",
        "자료",
        "제보",
        "입력",
        "등록",
        "승인",
        "수정",
        "작성",
        "발행",
    ),
    *("▶", "☞", "▷", "▲", "△", "▼", "◀", "로이터", "연합", "뉴시스", "OSEN", "AP", "AFP"),
)


def may_hold_byline(line: str) -> bool:
    """False if none of the patterns below can match: quick, for the many texts of one line."""
    return any(map(line.__contains__, _HINTS))


def opens(line: str) -> bool:
    """Whether ``line`` is what articles open with, or empty."""
    if len(line) > 120:
        return False
    line = without_opening(line).strip()
    return not line or any(
        pattern.fullmatch(line) for pattern in (_AUTHOR_LINE, _DATE_LINE, _CAPTION)
    )


def closes(line: str) -> bool:
    """Whether ``line`` is what articles close with, or empty."""
    line = line.strip()
    return not line or (
        len(line) <= 200
        and any(
            pattern.fullmatch(line)
            for pattern in (_AUTHOR_LINE, _CLOSING_LINE, _DATE_LINE, _CAPTION)
        )
    )


def is_affiliation(line: str) -> bool:
    """Whether ``line`` is a name and what the person is."""
    return len(line) <= 60 and _AFFILIATION.fullmatch(line.strip()) is not None


def without_opening(line: str) -> str:
    """``line`` without agency, place and author at its start."""
    while match := _OPENING.match(line):
        if not match[0].strip():
            break
        line = line[match.end() :]
    return line


def without_closing(line: str) -> str:
    """``line`` without author, address and rights at its end."""
    while match := _CLOSING.search(line, max(0, len(line) - 300)):
        if not match[0].strip():
            break
        line = line[: match.start()]
    return line
