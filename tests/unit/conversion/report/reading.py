"""What a browser would show of a page, and which of its figures the evidence does not hold."""

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img"}
# A number as pages and evidence write it, and the unit that follows on the same line: a name may be a lone '%'.
NUMBER = re.compile(r"(?<![\w.])[-\N{MINUS SIGN}]?(\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?)([^\S\n]*%|[^\S\n]*MB)?")


class Page(HTMLParser):
    """What is shown of a page, with what is said to who cannot see it; `references` is all that it points to."""

    def __init__(self, html):
        super().__init__()
        self.texts, self.references, self.tags, self.ids, self._open = [], [], [], [], []
        self.feed(html)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attributes:
            assert not name.startswith("on"), f"a handler: {name}"
            if name in ("href", "src", "xlink:href", "action", "srcset", "data", "poster"):
                self.references.append(value)
            if name in ("title", "aria-label", "alt"):
                self.texts.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self):
        return "\n".join(self.texts)


def leaves(value):
    """Every number and every string of some evidence, keys too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield value


def unfounded(text, *evidence):
    """The numbers in a text that are no rounded ones of the evidence."""
    found = list(leaves(evidence))
    strings = {s for s in found if isinstance(s, str)}
    strings |= {s.replace("T", " ").replace("+00:00", " UTC") for s in strings}
    # Strings are shown as they are; what digits they hold are no figures.
    for string in sorted(strings, key=len, reverse=True):
        if re.search(r"\d", string) and not string.isdigit():
            text = re.sub(
                rf"(?<![\w.]){re.escape(string)}(?!\w)" if string[0].isalnum() else re.escape(string), " ", text
            )
    values = [abs(v) for v in found if not isinstance(v, str)] + [int(s) for s in strings if s.isdigit()]
    return [match.group() for match in NUMBER.finditer(text) if not _founded(match, values)]


def _founded(match, values):
    told, unit = match.group(1), (match.group(2) or "").strip()
    mantissa, _, exponent = told.replace(",", "").partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
    number, half = float(told.replace(",", "")), 0.5000001 * 10.0**-decimals
    scales = {"%": (100,), "MB": (1, 1e-6)}.get(unit, (1,))
    return any(abs(number - value * scale) <= half + 1e-12 * number for value in values for scale in scales)
