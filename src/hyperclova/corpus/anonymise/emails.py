"""E-mail addresses, also those that hide from programs: abc (at) naver.com, abc골뱅이naver.com."""

import re
from collections.abc import Iterator

from hyperclova.corpus.anonymise.folding import fold
from hyperclova.corpus.anonymise.mask import Mask

_LOCAL_LENGTH, _DOMAIN_LENGTH = 66, 90

# Each begins with a literal, which `re` looks for many times faster than for one of a set.
_CLOSED = r"\ ?(?:at|AT|At|a|앳|엣|골뱅이)\ ?"
_AT_SIGNS = tuple(
    re.compile(sign)
    for sign in (
        *("@", "＠", "골뱅이", r"\ at\ ", r"\ AT\ "),
        *(rf"\({_CLOSED}\)", rf"\[{_CLOSED}\]", rf"\{{{_CLOSED}\}}", rf"（{_CLOSED}）"),
    )
)

# In a slice that ends at the at sign.
_LOCAL = re.compile(r"(?<![A-Za-z0-9*])([A-Za-z0-9][A-Za-z0-9._%+-]{0,63})\ ?\Z")

_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+([A-Za-z]{2,18})(?![A-Za-z0-9-])"
)

# icon@2x.png.
_FILE_NAME = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|ico|css|m?js|tsx?|json|html|tgz|zip|md)$", re.I
)
# Reserved for examples by RFC 2606.
_NOBODYS = re.compile(r"(?:^|\.)(?:example\.(?:com|net|org|edu)|example|test|invalid)$", re.I)

# Written apart or in Hangul, only the domains that people have mail at.
_DOT = r"\ ?(?:\.|\(dot\)|\[dot\]|쩜|점|닷|\ dot\ )\ ?"
_PROVIDERS = (
    r"(?:naver|gmail|g메일|daum|hanmail|nate|kakao|hotmail|outlook|yahoo|korea|empal|dreamwiz|icloud|"
    r"paran|lycos|live|chol|hanmir|freechal|네이버|지메일|다음|한메일|네이트|카카오|핫메일|야후|아웃룩)"
)
_LOOSE_DOMAIN = re.compile(
    rf"\ ?(?:(?P<plain>{_DOMAIN.pattern})|"
    rf"(?P<apart>{_PROVIDERS}{_DOT}(?:com|net|co{_DOT}kr|컴|넷)|"
    rf"[A-Za-z0-9-]+{_DOT}(?:ac|co|go|or|re|hs){_DOT}kr)(?![A-Za-z0-9]))",
    re.I,
)


def find_emails(text: str) -> Iterator[Mask]:
    """Addresses; the mask keeps the domain as it was written."""
    for pattern in _AT_SIGNS:
        for sign in pattern.finditer(text):
            mask = _address(text, sign)
            if mask is not None:
                yield mask


def _address(text: str, sign: re.Match[str]) -> Mask | None:
    before = fold(text, sign.start() - _LOCAL_LENGTH, sign.start())
    local = _LOCAL.search(before.text)
    if local is None:
        return None
    after = fold(text, sign.end(), sign.end() + _DOMAIN_LENGTH)
    domain = _LOOSE_DOMAIN.match(after.text)
    if domain is None or not _is_address(sign[0], local, domain, after.text):
        return None
    start, _ = before.span(*local.span(1))
    kept = domain.start("plain" if domain["plain"] else "apart")
    _, end = after.span(kept, domain.end())
    return Mask("email", start, end, f"****@{after.text[kept : domain.end()]}")


def _is_address(sign: str, local: re.Match[str], domain: re.Match[str], after: str) -> bool:
    tight = local.end() == local.end(1) and domain.start("plain") == 0
    if domain["plain"]:
        if _NOBODYS.search(domain["plain"]) or _FILE_NAME.search(domain["plain"]):
            return False
        if local[1] == "git" and after[domain.end() : domain.end() + 1] in (":", "/"):
            return False  # the address of a repository
        if sign in "@＠":
            return tight or _is_provider(domain["plain"])
        if sign.strip() in ("at", "AT"):  # English prose: "look at example.com"
            return _is_provider(domain["plain"])
    return True


_PROVIDER_DOMAIN = re.compile(rf"{_PROVIDERS}\.(?:com|net|co\.kr)", re.I)


def _is_provider(domain: str) -> bool:
    return _PROVIDER_DOMAIN.fullmatch(domain) is not None
