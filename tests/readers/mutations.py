"""What a client sends who wants to be somebody else: known spellings of the filter's names, in known places, and all of it damaged.

Only octets that Envoy lets through (`octets.json`, which `tests/envoy/test_octets.py` holds) are sent.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Headers = list[tuple[str, str]]


def _octets(ranges: str) -> frozenset[str]:
    spans = [span.split("-") for span in ranges.split()]
    return frozenset(chr(octet) for first, *last in spans for octet in range(int(first, 16), int((last or [first])[0], 16) + 1))


PASSED = {place: _octets(ranges) for place, ranges in json.loads(Path(__file__).with_name("octets.json").read_text()).items()}


@dataclasses.dataclass(frozen=True)
class Sent:
    """What a client adds to a request: `Cookie` fields, a query without its mark, and other headers. A character is an octet."""

    cookies: tuple[str, ...] = ()
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def passable(self) -> Sent:
        """The same without what Envoy would not let through."""

        def kept(place: str, text: str) -> str:
            return "".join(character for character in text if character in PASSED[place])

        headers = [(kept("name", name.lower()), kept("cookie", value).strip(" \t")) for name, value in self.headers]
        return Sent(
            tuple(kept("cookie", cookie).strip(" \t") for cookie in self.cookies),
            kept("query", self.query),
            tuple((name, value) for name, value in headers if name),
        )


# ------------------------------------------------------------------------------------------ spellings


def octets(text: str) -> str:
    """A text's UTF-8, an octet a character."""
    return text.encode().decode("latin-1")


def percent(text: str) -> str:
    return "".join(f"%{ord(octet):02X}" for octet in octets(text))


LOOK_ALIKES = {"k": "\u212a", "s": "\u017f", "i": "\u0131", "_": "\uff3f", "e": "\uff45", "o": "\uff4f", "a": "\uff41", "ss": "\xdf"}


def spellings(name: str) -> Iterator[str]:
    """The ways to write a name that some reader or other takes for it."""
    first, rest = name[0], name[1:]
    yield from (name, name.upper(), name.title(), name.swapcase(), first.upper() + rest)
    # Escapes.
    code = ord(first)
    yield from (f"%{code:02x}{rest}", f"%{code:02X}{rest}", f"%25{code:02x}{rest}", f"%2525{code:02x}{rest}")
    yield from (f"%u00{code:02x}{rest}", f"%U00{code:02x}{rest}", f"%u{{{code:x}}}{rest}", f"\\u00{code:02x}{rest}", f"\\x{code:02x}{rest}")
    yield from (f"&#{code};{rest}", f"&#x{code:x};{rest}", f"%26%23{code}%3B{rest}", f"\\{code:03o}{rest}", f'"\\{code:03o}{rest}"')
    overlong = bytes([0xC0 | code >> 6, 0x80 | code & 0x3F])
    yield from (overlong.decode("latin-1") + rest, "".join(f"%{octet:02X}" for octet in overlong) + rest, percent(name))
    for letter, alike in LOOK_ALIKES.items():
        if letter in name:
            yield from (octets(name.replace(letter, alike)), name.replace(letter, percent(alike)), name.replace(letter, f"%u{ord(alike):04x}"))
    wide = chr(code + 0xFEE0)
    yield from (octets(wide) + rest, f"%u{ord(wide):04X}{rest}")
    # What some trim, cut off, or take for the sign in the middle.
    for edge in (" ", "\t", "+", "%20", "%09", "%0a", "%0D", "%0b", "%00", "%A0", "%C2%A0", "\xa0", "\xc2\xa0", "\x85", "%E2%80%89", "%EF%BB%BF", "%u0020", "%u00a0"):
        yield from (edge + name, name + edge, f"{name}{edge}x", f"{first}{edge}{rest}")
    for edge in ('"', "'", "`", "$", ".", "_", "-", "?", "??", "!", "@", "*", "/", "\\", "(", "{", "<", "#", "~", "^", "|", ":", "=", "%", "&", ";", ","):
        yield from (edge + name, name + edge, edge + name + edge)
    for sign in "._-+ [%":
        for mark in "_":
            if mark in name:
                yield name.replace(mark, sign)
    if "_" in name:
        yield from (name.replace("_", "%5F"), name.replace("_", "%2E"), name.replace("_", "%20"), name.replace("_", "%5B"))
    # Indices.
    for index in ("[]", "[0]", "[x]", "[", "[x", "]", "[[", "[]]", "[x][y]", "[__proto__]", ".x", ".0", ".", "[.]", "%5B%5D", "%5b0", "%2E", "%2Ex", ":list", "{}", "()", "[%00]", "[-1]", "[1e3]"):
        yield name + index
    for around in ("[{}]", "[{}", "{}]", "[[{}]]", "a[{}]", "][{}", "%5B{}%5D", "[]{}", "[][{}]", ".{}", "..{}", "a.{}"):
        yield around.format(name)
    for parent in ("__proto__", "constructor.prototype", "constructor[prototype]", "prototype", "hasOwnProperty", "a.__proto__"):
        yield from (f"{parent}[{name}]", f"{parent}.{name}", f"{parent}%5B{name}%5D")


# ------------------------------------------------------------------------------------------ pairs

VALUES = ("forged", '"forged"', "%7B%22sub%22:%22root%22%7D", '{"sub":"root"}', "", "root=forged", "'forged'", "forged ", "eyJzdWIiOiJyb290In0")

BEFORE = (
    *("", "a=1", "a", "=", "a=", "=b", "a==", '"', "a=\"", 'a="b', "a='", 'a="b"', 'a="b\\"', "a[", "a]", "a\\", "a{", "a(", "a<", "a@", "a:", "a?", "a/"),
    *("$Version=1", '$Version="1"', "$Path=/", "a=1, b", "a=1,b=2", "a=b c", "a=\\", "a=%", "a=%2", "a=%22", "a=%3B", "a=\xff", "a\xa0", "a=\x85", "a=\t"),
    *("a=1&b=2", "admin=1", "a[]=1", "a[b]=1", "utf8=%E2%9C%93", "utf8=%26%2310003%3B", "_charset_=utf-7", "a;b", "a=1;b=2", "#", "?", "%", "%u", "&amp", "a=1&amp"),
)

BETWEEN_COOKIES = ("; ", ";", ";;", "; ;", " ;", ", ", ",", " ", "\t", "  ", "&", "|", '"', "[", "\\", "", "\xa0", "\x85", "%3B", "%3B%20", "%0d%0a", "+", ";\xa0", ";\t", "$", ": ", "/", "@", "(")
BETWEEN_PARAMETERS = ("&", ";", "&&", "&amp;", "%26", "%3B", ",", "", "?", "&?", "|", "+", "%20", "%00", "%0A", "&;", ";&", "&=", "[", '"', "\\", "/", ":", "\xa0", "&%26", "%2526", "&\xef\xbc\x86")

EQUALS = ("=", "=", "=", "=", "", " =", "= ", "%3D", "==", "=\t", "\t=", "[]=", ":", "%3d", "=\"", "%20=", "[=")

# What browsers and links carry in earnest.
USUAL_COOKIES = (
    *("_ga=GA1.2.1234.5678", "__cf_bm=aZ.9_-==; b=1", 'consent={"a":1,"b":[2]}', "theme=dark", "prefs=a|b:c", "cart=%7B%22id%22%3A1%7D", 'q="x y"', "k=v=w"),
    *("n=\xe6\x97\xa5", "empty=", "flag", "csrftoken=Ab/+==", "s%3Aid=x.y%2Bz", "lang=de,en;q=0.5", "a.b-c_d=1", "$Path=/"),
)
USUAL_PARAMETERS = (
    *("q=a+b", "page=2", "ids[]=1&ids[]=2", "filter[a][b]=c", "next=%2Fx%3Fa%3Db%26c", "utm_source=x", "json=%7B%22a%22%3A1%7D", "b64=YQ==", "flag", "x="),
    *("sort=-a,b", "range=1..2", "n=%E6%97%A5", "t=12:30", "m=a;b", "$filter=a%20eq%20'b'", "a.b=c", "p=(1,2)", "e=a%2526b", "u=http://h/p?x=y"),
)

ALPHABET = "\t !\"#$%&'()*+,-./0123456789:;<=>?@AKXZ[\\]^_`adikstuwxz{|}~\x80\x85\xa0\xad\xc0\xc1\xc2\xe2\xef\xff"


def damaged(text: str, noise: random.Random) -> str:
    """The text with one thing wrong."""
    at = noise.randrange(len(text) + 1)
    end = min(len(text), at + noise.randrange(1, 5))
    some = text[at:end]
    operators: list[Callable[[], str]] = [
        lambda: text[:at] + noise.choice(ALPHABET) + text[at:],
        lambda: text[:at] + noise.choice(ALPHABET) + text[end:],
        lambda: text[:at] + text[end:],
        lambda: text[:at] + some + text[at:],
        lambda: text[:at] + some.swapcase() + text[end:],
        lambda: text[:at] + "".join(f"%{ord(octet):02x}" for octet in some) + text[end:],
        lambda: text[:at] + some.replace("%", "%25") + text[end:],
        lambda: text[:at] + "".join(f"%u{ord(octet):04X}" for octet in some) + text[end:],
        lambda: text[:at] + "".join(f"%C{2 | ord(octet) >> 6 & 1}%{0x80 | ord(octet) & 0x3F:02X}" for octet in some) + text[end:],
        lambda: text[:at] + "%" + text[at:],
        lambda: text[:at] + f'"{some}"' + text[end:],
        lambda: text[:at] + f"[{some}]" + text[end:],
        lambda: text[:at] + noise.choice((*BETWEEN_COOKIES, *BETWEEN_PARAMETERS)) + text[at:],
        lambda: text[:at] + noise.choice(BEFORE) + text[end:],
        lambda: text[:at],
        lambda: text[at:] + text[:at],
    ]
    return noise.choice(operators)()


class Attacker:
    """Makes requests. The same numbers make the same ones."""

    def __init__(self, names: Mapping[str, tuple[str, ...]], noise: random.Random) -> None:
        self.noise = noise
        self.names = names
        self.spellings = {name: [*spellings(name)] for group in names.values() for name in group}

    def known(self) -> Iterator[Sent]:
        """Every known spelling, alone and behind something harmless, and behind everything that may hide it."""
        for name in self.names["cookie"]:
            for spelling in self.spellings[name]:
                yield from (Sent(cookies=(f"{spelling}=forged",)), Sent(cookies=(f"a=1; {spelling}=forged; b=2",)), Sent(cookies=(spelling,)))
            for before in BEFORE:
                yield from (Sent(cookies=(f"{before}{between}{name}=forged",)) for between in BETWEEN_COOKIES)
        for name in self.names["query"]:
            for spelling in self.spellings[name]:
                yield from (Sent(query=f"{spelling}=forged"), Sent(query=f"a=1&{spelling}=forged&b=2"), Sent(query=spelling))
            for before in BEFORE:
                yield from (Sent(query=f"{before}{between}{name}=forged") for between in BETWEEN_PARAMETERS)
        for name in self.names["header"]:
            for spelling in self.spellings_of_header(name):
                yield from (Sent(headers=((spelling, "forged"),)), Sent(headers=((spelling, "forged"), (spelling, "again"))))

    def spellings_of_header(self, name: str) -> Iterator[str]:
        """A name's letters are lower case when a filter sees them."""
        yield name
        for sign in "_.!#$%&'*+^`|~":
            yield from (name.replace("-", sign), name.replace("-", sign, 1), name + sign, sign + name)
        yield from (f"{name}-", f"http-{name}", f"http_{name.replace('-', '_')}", f"{name}-x")

    def random(self) -> Sent:
        noise = self.noise
        kind = noise.randrange(16)
        if kind >= 10:
            return [self.in_fields, self.among_usual, self.of_pieces][kind % 3]()
        cookies: list[str] = []
        query, headers = "", []
        if kind < 5 or kind == 9:
            for _ in range(noise.choice((1, 1, 1, 2))):
                cookies.append(self.damaged_or_not(self.text("cookie", BETWEEN_COOKIES)))
        if 4 <= kind < 8 or kind == 9:
            query = self.damaged_or_not(self.text("query", BETWEEN_PARAMETERS))
        if kind >= 8:
            name = noise.choice([*self.spellings_of_header(noise.choice(self.names["header"]))])
            headers = [(self.damaged_or_not(name, 0.3), noise.choice(VALUES))]
        return Sent(tuple(cookies), query, tuple(headers))

    def in_fields(self) -> Sent:
        """A cookie in several fields: what one begins, another may end."""
        text = self.damaged_or_not(self.text("cookie", BETWEEN_COOKIES), 0.4)
        cuts = sorted(self.noise.randrange(len(text) + 1) for _ in range(self.noise.choice((1, 1, 2, 3))))
        fields = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        return Sent(cookies=tuple(field for field in fields if field))

    def among_usual(self) -> Sent:
        """Somewhere in what others send in earnest."""
        noise = self.noise
        place, usual, sign = noise.choice((("cookie", USUAL_COOKIES, "; "), ("query", USUAL_PARAMETERS, "&")))
        parts = [noise.choice(usual) for _ in range(noise.randrange(1, 9))]
        between = BETWEEN_COOKIES if place == "cookie" else BETWEEN_PARAMETERS
        whole = sign.join(parts)
        at = noise.choice([0, len(whole), noise.randrange(len(whole) + 1)])
        sign = noise.choice((sign, sign, *between))
        text = self.damaged_or_not(whole[:at] + sign + self.text(place, between) + noise.choice((sign, "")) + whole[at:], 0.3)
        return Sent(cookies=(text,)) if place == "cookie" else Sent(query=text)

    def of_pieces(self) -> Sent:
        """Halves of names, and signs, in any order."""
        noise = self.noise
        place = noise.choice(("cookie", "query", "header"))
        name = noise.choice(self.names[place])
        cut = noise.randrange(len(name) + 1)
        signs = (*BETWEEN_COOKIES, *EQUALS) if place == "cookie" else (*BETWEEN_PARAMETERS, *EQUALS, "[", "]", ".")
        signs = tuple("-_.!~'") if place == "header" else signs
        pieces = (name, name, name[:cut], name[cut:], name.upper(), "a", "forged", noise.choice(self.spellings[name]))
        text = "".join(noise.choice(noise.choice((pieces, signs))) for _ in range(noise.randrange(2, 12)))
        if place == "header":
            return Sent(headers=((text, "forged"),))
        return Sent(cookies=(text,)) if place == "cookie" else Sent(query=text)

    def text(self, place: str, between: tuple[str, ...]) -> str:
        noise = self.noise
        parts = []
        for _ in range(noise.choice((1, 1, 2, 3))):
            name = noise.choice(self.names[place])
            spelling = name if noise.random() < 0.4 else noise.choice(self.spellings[name])
            pair = spelling + noise.choice(EQUALS) + noise.choice(VALUES)
            parts.append(pair if noise.random() < 0.3 else noise.choice(BEFORE) + noise.choice(between) + pair)
        return noise.choice(between).join(parts) + (noise.choice(("; b=2", "&b=2", ";", "&", '"', "")) if noise.random() < 0.5 else "")

    def damaged_or_not(self, text: str, often: float = 0.7) -> str:
        while self.noise.random() < often:
            text = damaged(text, self.noise)
            often /= 1.5
        return text
