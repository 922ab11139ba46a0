"""Rules that cut what surrounds a text: menus and notices of web pages, bylines of news."""

import re
from dataclasses import dataclass, replace

from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict

_LETTER = re.compile(r"[^\W\d_]")
_SPACES_AND_DIGITS = str.maketrans("", "", " \t\xa00123456789,.+:")
_BULLET = re.compile(r"[-*+•·]\s|\d+[.)]\s")
_FRAME = " \t\xa0-*+•·>«»‹›|[]()【】<>:"


def _phrases(text: str) -> frozenset[str]:
    """Phrases between semicolons, folded as lines are."""
    return frozenset(_fold(phrase) for phrase in text.split(";"))


def _fold(line: str) -> str:
    return line.strip(_FRAME).translate(_SPACES_AND_DIGITS).lower()


# Lines that are nothing but this are cut wherever they stand.
_ALWAYS = _phrases(
    "본문 바로가기;본문으로 바로가기;본문 내용 바로가기;메뉴 바로가기;주메뉴 바로가기;"
    "주 메뉴 바로가기;하단 메뉴 바로가기;콘텐츠 바로가기;컨텐츠 바로가기;메뉴 건너뛰기;"
    "내용으로 건너뛰기;skip to content;skip to main content;skip navigation;"
    "페이스북 공유하기;페이스북으로 공유하기;페이스북에 공유하기;트위터 공유하기;"
    "트위터로 공유하기;트위터에 공유하기;카카오톡 공유하기;카카오톡으로 공유하기;"
    "카카오스토리 공유하기;카카오스토리로 공유하기;밴드 공유하기;밴드로 공유하기;"
    "네이버 블로그 공유하기;네이버 밴드 공유하기;라인으로 공유하기;이메일로 공유하기;"
    "이 글 공유하기;이 글을 공유하기;기사 공유하기;이 기사를 공유합니다;링크 복사하기;"
    "url 복사하기;url 복사;주소 복사하기;클립보드에 복사되었습니다;share on facebook;"
    "share on twitter;tweet this;pin it;"
    "이 글에 공감한 블로거 열고 닫기;댓글 쓴 블로거 열고 닫기;이 블로그의 다른 글;"
    "이 블로그의 인기글;이 카테고리의 다른 글;블로그 정보;공감한 사람 보러가기;"
    "댓글을 입력하세요;댓글을 남겨주세요;댓글을 달아 주세요;첫 댓글을 남겨보세요;"
    "등록된 댓글이 없습니다;로그인 후 댓글을 작성할 수 있습니다;댓글 쓰기 권한이 없습니다;"
    "로그인이 필요합니다;로그인이 필요한 서비스입니다;비밀번호 찾기;아이디/비밀번호 찾기;"
    "개인정보처리방침;개인정보취급방침;청소년보호정책;청소년 보호정책;이메일무단수집거부;"
    "이메일 무단수집거부;영상정보처리기기 운영관리방침;저작권 정책;저작권보호정책;"
    "뉴스레터 구독하기;뉴스레터 신청;뉴스레터 구독 신청;구독하고 소식 받기;"
    "이 기사와 관련된 기사;이 기사를 추천합니다;많이 본 기사;많이 본 뉴스;가장 많이 본 뉴스;"
    "실시간 인기 뉴스;실시간 급상승 검색어;이 시각 주요뉴스;이 시각 헤드라인;최신 기사 더보기;"
    "관련 기사 더보기;관련기사 보기;맨 위로;맨 위로 가기;페이지 상단으로;상단으로 이동;"
    "이전 글 보기;다음 글 보기;전체 메뉴 보기;전체메뉴 닫기;검색창 열기;검색창 닫기;"
    "모두 동의;쿠키 허용;모든 쿠키 허용;쿠키 설정;accept all cookies;accept cookies;"
    "cookie settings;all rights reserved;{:toc};* TOC;<InlineToc />;[[목차]]"
)
# These are cut at the start and the end of a page, or where three of them stand together.
_AT_EDGES = _ALWAYS | _phrases(
    "홈;home;메인;로그인;login;log in;sign in;로그아웃;logout;회원가입;join;sign up;마이페이지;"
    "my page;장바구니;주문조회;사이트맵;sitemap;고객센터;고객지원;공지사항;자주 묻는 질문;faq;"
    "이용약관;이용 약관;회사소개;광고문의;광고 안내;제휴문의;제휴 문의;찾아오시는 길;오시는 길;"
    "채용정보;인재채용;저작권;메뉴;전체메뉴;menu;전체보기;검색;통합검색;search;닫기;close;열기;"
    "목록;목록보기;글목록;리스트;이전;다음;이전글;다음글;이전 글;다음 글;prev;next;previous;"
    "위로;top;인쇄;인쇄하기;프린트;스크랩;스크랩하기;글자크기;글자 크기;글씨크기;글자 크게;"
    "글자 작게;글자크기 설정;가;공유;공유하기;share;페이스북;facebook;트위터;twitter;카카오톡;"
    "카카오스토리;밴드;band;네이버블로그;인스타그램;instagram;유튜브;youtube;텔레그램;링크드인;"
    "좋아요;좋아요 개;싫어요;추천;추천하기;비추천;공감;공감하기;신고;신고하기;차단;댓글;댓글 개;"
    "댓글쓰기;댓글 쓰기;댓글달기;댓글 보기;답글;답글쓰기;답글 달기;등록;수정;삭제;취소;확인;"
    "구독;구독하기;subscribe;팔로우;follow;알림;알림 설정;이웃추가;이웃 추가;관련글;관련 글;"
    "관련기사;관련 기사;관련 뉴스;추천 기사;추천기사;인기기사;인기 기사;인기글;최신글;최신 글;"
    "최신기사;최근 글;최근글;더보기;더 보기;more;read more;태그;tag;tags;카테고리;category;"
    "조회;조회수;조회수 회;이메일;email;rss;영문;english;kor;eng;모바일 버전;pc 버전;"
    "pc버전으로 보기;언어 선택;한국어;facebook twitter;sns;url"
)
_SECTIONS = _phrases(
    "정치;경제;사회;문화;국제;세계;스포츠;연예;오피니언;사설;칼럼;전국;지역;생활;it;과학;"
    "포토;영상;동영상;tv;라이프;부동산;증권;산업;북한;건강;여행;게시판;자유게시판;커뮤니티;"
    "블로그;카페;뉴스;쇼핑;지식in;메일;전체;전체기사"
)
_SEPARATOR = re.compile(r"\s*[|｜»›>]\s*|\s+[·ㆍ•/]\s+")
_NOTICE_HINTS = (
    "쿠키",
    "ookie",
    "ⓒ",
    "©",
    "(c)",
    "(C)",
    "opyright",
    "OPYRIGHT",
    "저작권자",
    "사업자",
    "통신판매",
    "구독",
    "팔로우",
)
_NOTICE = re.compile(
    r"(?:(?:본|이|저희|당)\s?(?:웹\s?)?(?:사이트|페이지|홈페이지)[은는에서]*\s.{0,60}쿠키.{0,80}"
    r"|.{0,20}쿠키를?\s?(?:사용|허용|수집).{0,40}(?:동의|거부|설정|확인).{0,60}"
    r"|.{0,60}\buses? cookies.{0,120}"
    r"|[<\[(]?\s*(?:ⓒ|©|\(c\)|copyrights?\b|저작권자\s*[ⓒ©:(])(?=.*(?:(?:19|20)\d\d|reserved|무단))"
    r".{0,140}"
    r"|.{0,60}(?:all rights reserved|무단\s?(?:전재|복제|도용|배포)[^.]{0,30}금(?:지|합니다|함))"
    r"\.?.{0,20}"
    r"|.{0,80}(?:사업자\s?(?:등록)?\s?번호|통신판매업?\s?신고(?:번호)?)\s*[:：]?\s*"
    r"[\d제가-힣-]{3,24}\d.{0,140}"
    r"|.{0,20}구독(?:과|,|하기|\s?버튼)?\s?.{0,12}(?:좋아요|알림\s?설정|눌러\s?주세요|부탁드).{0,40}"
    r"|.{0,30}(?:팔로우|이웃\s?추가)(?:하기)?.{0,10}(?:눌러\s?주세요|부탁드).{0,30})",
    re.IGNORECASE,
)
# Marks that administrators and wikis leave inside a text.
_MARKS = (
    ("관리자에 의해", re.compile(r"\s*\[[^\[\]\n]{0,80}관리자에 의해[^\[\]\n]{0,40}\]")),
    ("[[분류:", re.compile(r"\s*\[\[분류:[^\]\n]*\]\]")),
    ("[[Category:", re.compile(r"\s*\[\[Category:[^\]\n]*\]\]")),
)


@dataclass(frozen=True, kw_only=True)
class WebBoilerplate(Rule):
    """Lines of a web page that are not its text are cut: navigation, log-in, sharing,
    subscription, related articles, cookie and copyright notices, the company's footer.

    What can only be such a line goes wherever it stands. Words that may also be text ("검색",
    "목록", "댓글") go at the start and the end of a page, as do menus
    ("정치 | 경제 | 사회"), and elsewhere only where three of them stand together and are not a
    list. A document of nothing else is dropped.

    Source: paper, Appendix A.1 (parts of a page that mean something are kept, the rest is cut).
    """

    edge: int = 12
    """Lines at the start and at the end that are looked at as a page's edges."""
    characters: int = 60
    """Longer lines are text, unless they are notices (at most 200)."""

    def apply(self, document: Document) -> Verdict:
        text = document.text
        for hint, mark in _MARKS:
            if hint in text:
                text = mark.sub("", text)
        lines = text.split("\n")
        # 2: boilerplate anywhere, 1: only in company, 0: text, -1: empty
        notices = any(hint in text for hint in _NOTICE_HINTS)
        ranks = [self._rank(line, notices) for line in lines]
        if 1 in ranks or 2 in ranks:
            cut = self._cut(lines, ranks)
            if cut:
                text = "\n".join(line for row, line in enumerate(lines) if row not in cut)
                text = text.strip("\n")
        if text == document.text:
            return Verdict(document)
        if not _LETTER.search(text):
            return Verdict(None, "nothing but menus and notices")
        fewer = len(lines) - text.count("\n") - 1
        what = f"{fewer} lines of menus and notices cut" if fewer else "notices cut"
        return Verdict(replace(document, text=text), what)

    def _rank(self, line: str, notices: bool) -> int:
        if len(line) > 200:
            return 0
        if len(line) <= self.characters:
            key = _fold(line)
            if not key:
                return 0 if line.strip() else -1
            if key in _ALWAYS:
                return 2
            if key in _AT_EDGES:
                return 1
            if _is_menu(line):
                return 1
        return 2 if notices and _NOTICE.fullmatch(line.strip()) else 0

    def _cut(self, lines: list[str], ranks: list[int]) -> set[int]:
        """Rows to cut."""
        cut = {row for row, rank in enumerate(ranks) if rank == 2}
        filled = [row for row, rank in enumerate(ranks) if rank >= 0]
        if len(filled) < 3:  # "추천" alone is somebody's opinion
            return cut
        for rows in (filled[: self.edge], filled[::-1][: self.edge]):
            edge: list[int] = []
            for row in rows:
                if ranks[row] == 0:
                    break
                edge.append(row)
            # A list of a few such words may well be what a text is about.
            listed = sum(bool(_BULLET.match(lines[row].lstrip())) for row in edge)
            if not listed or len(edge) >= 4:
                cut.update(edge)
        group: list[int] = []
        for row in (*filled, -1):
            if row >= 0 and ranks[row] > 0 and not _BULLET.match(lines[row].lstrip()):
                group.append(row)
                continue
            if len(group) >= 3:
                cut.update(group)
            group = []
        return cut


def _is_menu(line: str) -> bool:
    """Three or more short words between separators, at least two of them words of menus."""
    if line.lstrip().startswith("|") or not _SEPARATOR.search(line):
        return False
    parts = [_fold(part) for part in _SEPARATOR.split(line.strip(_FRAME))]
    if len(parts) < 3 or max(map(len, parts)) > 14:
        return False
    known = sum(part in _AT_EDGES or part in _SECTIONS for part in parts)
    return known >= 2 and 2 * known >= len(parts)


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
    r"|[<\[(〈-]?[^.\n]{0,30}무단\s?전재[^\n]{0,40}금지[^\n]{0,12})"
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
    rf"{_RIGHTS}"
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


@dataclass(frozen=True, kw_only=True)
class NewsBoilerplate(Rule):
    """What news articles open and close with is cut: agency and place ("(서울=연합뉴스)"), the
    author's line, the times of publishing, captions, the author's affiliation, appeals to
    subscribe, and the ban on copying.

    Only the first and the last lines are looked at, and within them only the very start and end;
    a document of nothing else is dropped. By default for ``news`` alone: an encyclopedia too ends
    in names with affiliations, and there they are its text.

    Source: paper, Appendix A.1 (news: the first line and the closing line with the affiliation).
    """

    sources: tuple[str, ...] = ("news",)
    lines: int = 6
    """Lines at the start and at the end that may be cut."""
    affiliation: bool = True
    """Cut a last line that is a name with an affiliation, below at least three others."""

    def apply(self, document: Document) -> Verdict:
        text = document.text
        lines = text.split("\n")
        start, end = 0, len(lines)
        while start < min(end, self.lines) and self._opens(lines[start]):
            start += 1
        while end > start and len(lines) - end < self.lines and self._closes(lines[end - 1]):
            end -= 1
        rest = lines[start:end]
        if (
            self.affiliation
            and sum(map(bool, rest)) > 3
            and len(rest[-1]) <= 60
            and _AFFILIATION.fullmatch(rest[-1].strip())
        ):
            rest.pop()
        if rest:
            rest[0] = _without_opening(rest[0])
            rest[-1] = _without_closing(rest[-1])
        shorter = "\n".join(rest)
        if shorter == text:
            return Verdict(document)
        shorter = shorter.strip()
        if not _LETTER.search(shorter):
            return Verdict(None, "nothing but bylines and notices")
        cut = len(text) - len(shorter)
        return Verdict(
            replace(document, text=shorter), f"{cut} characters of bylines and notices cut"
        )

    def _opens(self, line: str) -> bool:
        line = line.strip()
        return not line or (
            len(line) <= 120
            and any(
                pattern.fullmatch(line)
                for pattern in (_AUTHOR_LINE, _DATE_LINE, _CAPTION, _OPENING)
            )
        )

    def _closes(self, line: str) -> bool:
        line = line.strip()
        return not line or (
            len(line) <= 200
            and any(
                pattern.fullmatch(line)
                for pattern in (_AUTHOR_LINE, _CLOSING_LINE, _DATE_LINE, _CAPTION)
            )
        )


def _without_opening(line: str) -> str:
    while match := _OPENING.match(line):
        if not match[0].strip():
            break
        line = line[match.end() :]
    return line


def _without_closing(line: str) -> str:
    while match := _CLOSING.search(line, max(0, len(line) - 300)):
        if not match[0].strip():
            break
        line = line[: match.start()]
    return line
