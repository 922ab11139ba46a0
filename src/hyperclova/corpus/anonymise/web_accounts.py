"""Addresses of people's accounts on the web: their pages, and their names beside a service's."""

import re
from collections.abc import Iterator

from hyperclova.corpus.anonymise.mask import Mask

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.\-]*[A-Za-z0-9_]|[A-Za-z0-9_]"
_END = r"(?![A-Za-z0-9_*])"

# What stands at the first place of a page's path on these sites and isn't anybody.
_NOBODY = (
    r"(?:[a-z_]+\.php|p|reel|reels|tv|explore|stories|accounts|about|developer|legal|hashtag|search|"
    r"share|intent|"
    r"i|home|login|signup|settings|tos|privacy|help|sharer|plugins|dialog|groups|pages|"
    r"events|watch|photo|photos|people|public|"
    r"media|notes|hashtags|business|ads|policies|terms|games|gaming|marketplace|tr|v[0-9.]+|"
    r"PostView\.(?:nhn|naver)|PostList\.(?:nhn|naver)|NBlogTop\.(?:nhn|naver)|rss|index\.html|"
    r"oauth|api|statuses|who_to_follow|account|_blog|widgets|jobs|download|compose|messages)"
)
# Sites whose pages https://SITE/NAME are people's. Cafes and channels of firms aren't listed.
_PAGES = (
    r"instagram\.com|twitter\.com|x\.com|facebook\.com|fb\.com|blog\.naver\.com|"
    r"post\.naver\.com/my\.(?:nhn|naver)\?memberNo=|in\.naver\.com|story\.kakao\.com|"
    r"blog\.daum\.net|threads\.net|threads\.com|cyworld\.com|me2day\.net|t\.me|"
    r"pinterest\.(?:com|co\.kr)|tumblr\.com/blog|soundcloud\.com|twitch\.tv|"
    r"bj\.afreecatv\.com|ask\.fm"
)
_PAGE = re.compile(
    r"(?<![A-Za-z0-9_\-.])(?:https?://)?(?:(?:www|m|mobile|web|ko-kr|en)\.)?(?:"
    rf"(?:{_PAGES})/(?:\#!/)?@?(?!{_NOBODY}(?![A-Za-z0-9_\-]))(?P<page>{_NAME})|"
    # Sites that mark a name themselves.
    r"(?:tiktok\.com|brunch\.co\.kr|velog\.io|medium\.com|youtube\.com|threads\.net)/@"
    rf"(?P<at>{_NAME})|"
    rf"youtube\.com/(?:user|c|channel)/(?P<channel>{_NAME})|linkedin\.com/in/(?P<linkedin>[\w%\-]+)|"
    rf"facebook\.com/(?:profile\.php\?id=|people/[^/\s]+/)(?P<profile>[0-9]+)|"
    rf"open\.kakao\.com/(?:o|me)/(?P<kakao>{_NAME})|"
    rf"blog\.naver\.com/[A-Za-z]+\.(?:nhn|naver)\?(?:[a-zA-Z]+=[^&\s]*&)*?blogId=(?P<blog>{_NAME})|"
    r"cafe\.naver\.com/(?:ca-fe/)?cafes/[0-9]+/members/(?P<member>[A-Za-z0-9_\-]+)"
    rf"){_END}",
    re.I | re.A,
)
_SUBDOMAIN = re.compile(
    r"(?<![A-Za-z0-9_\-.*@])(?!(?:www|m|blog|notice|help|api)\.)(?P<name>[A-Za-z0-9][A-Za-z0-9\-]*)"
    r"\.(?:tistory\.com|egloos\.com|blog\.me|blogspot\.(?:com|kr)|wordpress\.com|tumblr\.com)"
    r"(?![A-Za-z0-9\-])",
    re.I | re.A,
)
# Where one of the two patterns may match: a literal, which `re` looks for fast, then the rest of
# the site's name read backwards, so that other addresses cost nothing.
_SITES = (
    *("instagram.com", "twitter.com", "x.com", "facebook.com", "fb.com", "blog.naver.com"),
    *("post.naver.com", "in.naver.com", "story.kakao.com", "blog.daum.net", "threads.net"),
    *("threads.com", "cyworld.com", "me2day.net", "t.me", "pinterest.com", "pinterest.co.kr"),
    *("tumblr.com", "soundcloud.com", "twitch.tv", "afreecatv.com", "ask.fm", "tiktok.com"),
    *("brunch.co.kr", "velog.io", "medium.com", "youtube.com", "open.kakao.com"),
    *("linkedin.com", "cafe.naver.com"),
)
_SITE = re.compile(
    r"\.(?:(?i:com|net|tv|kr|me|io|fm)/(?:"
    + "|".join(f"(?<=(?i:{re.escape(site)})/)" for site in _SITES)
    + r")|(?i:tistory|egloos|blogspot|wordpress|tumblr)\.|(?i:blog\.me))"
)
_BEFORE, _AFTER = 50, 160

# Names of accounts beside a service's name: "카톡 아이디 abc123", "인스타: abc_1", "Insta @abc".
# The look for them starts at the rarest part, and reads back from there.
_SERVICES = (
    r"(?:카카오톡|카톡|카카오스토리|카스|인스타그램|인스타|트위터|페이스북|페북|페메|텔레그램|텔레|디스코드|디코|"
    r"라인|위챗|스카이프|틱톡|유튜브|스레드|쓰레드|스냅챗|네이버|네이트온|네이트|한메일|싸이월드|싸이|트위치|"
    r"아프리카|핀터레스트|"
    r"(?<![A-Za-z0-9_\-./@])(?:(?i:kakao(?:\ ?talk)?|katalk|instagram|insta|twitter|facebook|"
    r"telegram|discord|wechat|skype|tiktok|snapchat|threads)|IG|ig|FB|SNS|LINE))"
)
_LINK = r"(?:\ ?(?:은|는|이|가|추가|친추|[:：=\-→]|->)){0,2}\ ?[\"'“‘<(\[]?"
_NAMED = re.compile(rf"(?:아이디|아뒤|계정|닉네임|I[Dd]|id){_LINK}@?(?P<name>{_NAME}){_END}", re.A)
_SERVICE_BEFORE = re.compile(rf"{_SERVICES}\ ?\Z")
_HANDLE = re.compile(rf"@(?P<name>{_NAME}){_END}", re.A)
_LINKED_SERVICE_BEFORE = re.compile(rf"{_SERVICES}{_LINK}\Z")
# Without the word for account, a name needs a digit or a line in it: "카톡 추가", "인스타: API".
_LISTED = re.compile(
    r"(?:카카오톡|카톡|인스타그램|인스타|트위터|페이스북|페북|텔레그램|디스코드|위챗|스카이프)"
    r"(?:\ ?[:：=]\ ?|(?<=[톡램])\ (?=[A-Za-z0-9_.\-]{6}))"
    rf"(?P<name>(?=[A-Za-z_.\-]*[0-9_])(?:{_NAME})){_END}",
    re.A,
)
# A comment that speaks to somebody: "@abc님".
_ADDRESSED = re.compile(r"\ ?님")
_ADDRESS_BEFORE = re.compile(r"[A-Za-z0-9._%+\-*]\Z")

_FEWEST = 3
_REACH = 24
_NO_NAME = re.compile(r"https?|www|api|app|dm|pc|ios|url|null|true|false|admin|root|test", re.I)


def find_web_accounts(text: str) -> Iterator[Mask]:
    """Names of accounts; the mask covers the name alone, so the service stays."""
    done = 0
    for site in _SITE.finditer(text):
        pattern = _PAGE if site[0].endswith("/") else _SUBDOMAIN
        end = min(site.end() + _AFTER, len(text))
        for match in pattern.finditer(text, max(done, site.start() - _BEFORE), end):
            if match.end() < end or end == len(text):  # else cut in two
                yield _mask(match)
                done = match.end()
    for match in _NAMED.finditer(text):
        if _is_name(match) and _SERVICE_BEFORE.search(_before(match)):
            yield _mask(match)
    for match in _LISTED.finditer(text):
        if _is_name(match):
            yield _mask(match)
    for match in _HANDLE.finditer(text):
        if _is_name(match) and (
            _LINKED_SERVICE_BEFORE.search(_before(match))
            or (_ADDRESSED.match(text, match.end()) and not _ADDRESS_BEFORE.search(_before(match)))
        ):
            yield _mask(match)


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - _REACH) : match.start()]


def _mask(match: re.Match[str]) -> Mask:
    start, end = match.span(match.lastgroup or 0)
    return Mask("web-account", start, end, "****")


def _is_name(match: re.Match[str]) -> bool:
    name = match["name"]
    return (
        len(name) >= _FEWEST
        and any(map(str.isalpha, name))
        and not name.isupper()
        and not _NO_NAME.fullmatch(name)
    )
