"""Built-in detectors of what should not stand in a ledger. Pure; each takes time linear in the text, whatever it is.

A detector takes a text and returns it with a marker in place of each find, and the number of finds. The patterns have
no choice to go back on: quantifiers are bounded or possessive, and a look-behind lets each run of characters begin
once.
"""

import re
from collections.abc import Callable, Iterator

#: (text, marker) → (masked text, number of finds).
Detector = Callable[[str, str], tuple[str, int]]

_API_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-[A-Za-z0-9_-]{16,512}+"  # OpenAI, Anthropic and what follows them
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{30,255}+|github_pat_[A-Za-z0-9_]{22,255}+"
    r"|glpat-[A-Za-z0-9_-]{20,255}+"
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}+"  # Slack
    r"|[rsp]k_(?:live|test)_[A-Za-z0-9]{16,255}+"  # Stripe
    r"|hf_[A-Za-z0-9]{30,255}+"
    r")"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,65536}+(?:-----END [A-Z ]{0,40}KEY-----)?")
_BEARER = re.compile(r"(?<![A-Za-z0-9])(?i:bearer)[ \t]{1,8}+[A-Za-z0-9._~+/=-]{16,8192}+")
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,8192}+\.[A-Za-z0-9_-]{4,65536}+\.[A-Za-z0-9_-]{0,8192}+")
_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}+@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){1,8}+")
# As cards are printed: without separators, or in groups of three to seven digits.
_DIGITS = re.compile(r"(?<![0-9])(?:[0-9]{13,19}+(?![0-9])|[0-9]{3,7}+(?![0-9])(?:[ -][0-9]{3,7}+(?![0-9]))++)")
_GROUP = re.compile(r"[0-9]+")
_CARD_DIGITS = (13, 19)
_GROUPS_MAX = 6


def api_key(text: str, marker: str) -> tuple[str, int]:
    """Mask keys that their issuers gave a recognisable form, and private keys in PEM."""
    text, keys = _API_KEY.subn(marker, text)
    text, private = _PRIVATE_KEY.subn(marker, text)
    return text, keys + private


def token(text: str, marker: str) -> tuple[str, int]:
    """Mask bearer tokens (with the word) and JSON web tokens."""
    text, bearers = _BEARER.subn(marker, text)
    text, tokens = _JWT.subn(marker, text)
    return text, bearers + tokens


def email(text: str, marker: str) -> tuple[str, int]:
    """Mask e-mail addresses."""
    return _EMAIL.subn(marker, text)


def card(text: str, marker: str) -> tuple[str, int]:
    """Mask payment card numbers: an issuer's prefix and length, and Luhn's check digit."""
    found = 0

    def mask(run: re.Match[str]) -> str:
        nonlocal found
        parts: list[str] = []
        at = 0
        for start, end in _cards(run[0]):
            if start >= at:
                parts += (run[0][at:start], marker)
                at, found = end, found + 1
        return "".join((*parts, run[0][at:])) if parts else run[0]

    return _DIGITS.sub(mask, text), found


BUILT_IN: dict[str, Detector] = {"api_key": api_key, "token": token, "email": email, "card": card}


def _cards(run: str) -> Iterator[tuple[int, int]]:
    """Yield where card numbers stand in digits with separators: whole groups, the longest first at each place."""
    groups = [match.span() for match in _GROUP.finditer(run)]
    for first, (start, _) in enumerate(groups):
        best, digits = None, ""
        for begin, end in groups[first : first + _GROUPS_MAX]:
            if len(digits) + end - begin > _CARD_DIGITS[1]:
                break
            digits += run[begin:end]
            if len(digits) >= _CARD_DIGITS[0] and _is_card(digits):
                best = start, end
        if best is not None:
            yield best


def _is_card(digits: str) -> bool:
    return _is_issued(digits) and sum(map(_luhn, range(len(digits)), reversed(digits))) % 10 == 0


def _luhn(place: int, digit: str) -> int:
    value = int(digit) * (1 + place % 2)
    return value - 9 if value > 9 else value


def _is_issued(digits: str) -> bool:
    """Tell whether a card network gives out numbers of this beginning and length (ISO/IEC 7812)."""
    size, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if two in (34, 37):
        return size == 15
    if two in (36, 38, 39) or 300 <= three <= 305:
        return 14 <= size <= 19
    if digits[0] == "4":
        return size in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return size == 16
    return (digits[0] in "56" and 16 <= size <= 19) or (3528 <= four <= 3589 and 16 <= size <= 19)
