"""What the lines of a web page are that are not its text."""

import re
from enum import IntEnum


class Rank(IntEnum):
    """What a line may be."""

    EMPTY = -1
    TEXT = 0
    IN_COMPANY = 1
    """Boilerplate at the edges of a page or among its like."""
    MENU = 2
    """Boilerplate at the edges of a page or among its like, and no heading."""
    ANYWHERE = 3
    """Boilerplate wherever it stands."""


_SPACES_AND_DIGITS = str.maketrans("", "", " \t\xa00123456789,.+:")
BULLET = re.compile(r"[-*+•·]\s|\d+[.)]\s")
_FRAME = " \t\xa0-*+•·>«»‹›|[]()【】<>:0123456789,."


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
_STARTS = frozenset(phrase[:2] for phrase in _AT_EDGES)
_SEPARATORS = ("|", "｜", "»", "›", ">", " · ", " ㆍ ", " • ", " / ")
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
MARKS = (
    ("관리자에 의해", re.compile(r"\s*\[[^\[\]\n]{0,80}관리자에 의해[^\[\]\n]{0,40}\]")),
    ("[[분류:", re.compile(r"\s*\[\[분류:[^\]\n]*\]\]")),
    ("[[Category:", re.compile(r"\s*\[\[Category:[^\]\n]*\]\]")),
)


def ranks(lines: list[str], text: str, characters: int) -> list[Rank]:
    """What each of the lines of ``text`` may be.

    Args:
        characters: longer lines are text or notices.
    """
    notices = any(map(text.__contains__, _NOTICE_HINTS))
    menus = any(map(text.__contains__, _SEPARATORS))
    found: list[Rank] = []
    for line in lines:
        rank = Rank.TEXT
        if len(line) <= characters:
            bare = line.strip(_FRAME)
            if not bare:
                rank = Rank.TEXT if line.strip() else Rank.EMPTY
            elif bare[:2].lower() in _STARTS or " " in bare[:2] or bare[0] in "{[":
                key = _fold(bare)
                if key in _AT_EDGES:
                    rank = Rank.ANYWHERE if key in _ALWAYS else Rank.IN_COMPANY
            if menus and rank == Rank.TEXT and bare and _is_menu(line):
                rank = Rank.MENU
        if notices and rank == Rank.TEXT and len(line) <= 200 and _NOTICE.fullmatch(line.strip()):
            rank = Rank.ANYWHERE
        found.append(rank)
    return found


def _is_menu(line: str) -> bool:
    """Three or more short words between separators, at least two of them words of menus."""
    if line.lstrip().startswith("|") or not _SEPARATOR.search(line):
        return False
    parts = [_fold(part) for part in _SEPARATOR.split(line.strip(_FRAME))]
    if len(parts) < 3 or max(map(len, parts)) > 14:
        return False
    known = sum(part in _AT_EDGES or part in _SECTIONS for part in parts)
    return known >= 2 and 2 * known >= len(parts)
