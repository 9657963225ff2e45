"""Telephone numbers: groups of digits that a numbering plan knows.

What lives here: the groups of a candidate, and the plans of the world, compiled from the metadata of ``phonenumbers``.
What must not: where a candidate begins (pii_numbers), pieces of a stream.

The library's own matcher is too slow for running text, and so is its parser at a place that hostile text can repeat.
Its metadata is what it knows; a number is valid here when it is there, which the tests compare.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, Final, TypeAlias

from extproc.detectors.pii_numbers import DASHES, NONE, SPACES, Finder, word_before

_Description: TypeAlias = tuple[frozenset[int], re.Pattern[str]]
"""Lengths (empty: any) and form of the national numbers of one type."""

_TYPES: Final = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip
_GAP: Final = rf"(?:\)?(?: ?[{DASHES}./] ?|[{SPACES}]?)\(?)"
_GROUPS: Final = re.compile(
    rf"(?:\(?\+)?{_GAP}([0-9]+)(?:{_GAP}([0-9]+)(?:{_GAP}([0-9]+)" + rf"(?:{_GAP}([0-9]{{2,}})" * 4 + ")?" * 6
)
_GLUED: Final = re.compile(f"[{DASHES}.][0-9]")
_EXTENSION: Final = re.compile(rf"([{DASHES}][0-9])(?:[{SPACES}()/]|\Z)")
_NOT_NATIONAL: Final = re.compile(
    rf"(?<=[0-9][{DASHES}./])|0\.|(?:19|20)[0-9]{{2}}([{DASHES}./ ])[01]?[0-9]\1[0-3]?[0-9]"
    rf"|[0-3]?[0-9]([{DASHES}./ ])[0-3]?[0-9]\2(?:19|20)[0-9]{{2}}"
)
_DIGITS_MIN: Final = 7
_DIGITS_MAX: Final = 17  # 15 and the prefix 00
_speaks_of_phones: Final = word_before(
    r"(?:tele)?phone(?:[ _-]?(?:number|no))?|\btel|mobile|\bcell|\bfax|whatsapp|\bsms"
    r"|telefon|\bhandy|téléphone|teléfono"
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The valid national numbers of one region, and how they are written there."""

    general: _Description
    types: tuple[_Description, ...]
    prefix: str
    prefix_needed: bool
    prefix_form: re.Pattern[str] | None
    transform: str | None
    written: str

    @property
    def sizes(self) -> frozenset[int]:
        """How many digits a number may have, with or without its prefix; empty if that is not easily said."""
        lengths = self.general[0]
        if self.prefix_form is None:
            return lengths
        simple = self.prefix_form.pattern == self.prefix and not self.transform
        return lengths | {size + len(self.prefix) for size in lengths} if simple else frozenset()

    def valid(self, number: str) -> bool:
        """Say whether a number without any prefix is of a known type."""
        return _fits(self.general, number) and any(_fits(description, number) for description in self.types)

    def bare(self, number: str) -> str:
        """Give the number without its national prefix."""
        match = self.prefix_form.match(number) if self.prefix_form else None
        if match is None or not match.end():
            return number
        if self.transform and match.lastindex and match[match.lastindex]:
            return match.expand(self.transform) + number[match.end() :]
        return number[match.end() :]


def phone_finder(regions: tuple[str, ...]) -> Finder:
    """Find numbers in the international form, and in the national form of the regions (``US``, ``DE``, ...).

    Raises:
        ImportError: phonenumbers is not there.
        KeyError: there is no such region.
    """
    world = _World()
    nations = _Nations(tuple(world.region(region) for region in regions))

    def find(text: str, at: int, end: int) -> int:
        groups = _GROUPS.match(text, at, end)
        if groups is None or groups.end() - at < _DIGITS_MIN:
            return NONE  # as most places of hostile text: "1-1-1-1-"
        begin = at
        if text[at] == "(":
            if text.find(")", at, at + 8) < 0:
                return NONE
            begin += text[at + 1 : at + 2] == "+"
        if text[begin] == "+":
            return _longest(text, groups, end, world.valid)
        if text.startswith("00", begin):
            return _longest(text, groups, end, world.valid_abroad)
        if _NOT_NATIONAL.match(text, at) or not nations.begins(text, begin, end):
            return NONE
        if text[begin] not in "(0" and (slash := text.find("/", begin, end)) >= 0:
            end = slash  # 030/901820 is a number, 768/512/256 is not
            groups = _GROUPS.match(text, at, end) or groups
        return next(
            (
                stop
                for stop, digits in _prefixes(groups)
                # One or two groups may be any number, unless the text speaks of a telephone.
                if nations.valid(digits)
                and _may_end(text, stop, end)
                and (len(digits) > 2 or (len(digits) == 2 and digits[0][0] == "0") or _speaks_of_phones(text, at))
            ),
            NONE,
        )

    return find


def _longest(text: str, groups: re.Match[str], end: int, valid: Callable[[list[str]], bool]) -> int:
    """Give the end of the longest number in the international form, or ``NONE``."""
    for stop, digits in _prefixes(groups):
        if valid(digits):
            extension = _EXTENSION.match(text, stop, end)  # +49 30 901820-0
            last = extension.end(1) if extension else stop
            if _may_end(text, last, end):
                return last
    return NONE


def _prefixes(groups: re.Match[str]) -> Iterator[tuple[int, list[str]]]:
    """Give the first groups, as many as there are and ever fewer, and where the last of them ends."""
    digits = [group for group in groups.groups() if group]
    sizes = list(accumulate(map(len, digits)))
    for count in range(len(digits), 0, -1):
        if sizes[count - 1] < _DIGITS_MIN:
            return
        if sizes[count - 1] <= _DIGITS_MAX:
            yield groups.end(count), digits[:count]


class _Nations:
    """The national forms of the chosen regions."""

    def __init__(self, plans: tuple[_Plan, ...]) -> None:
        self._prefixed: Final = tuple(p for p in plans if p.prefix_needed or p.prefix.startswith("0"))
        self._prefixes: Final = tuple({plan.prefix for plan in self._prefixed})
        self._free: Final = tuple(plan for plan in plans if not plan.prefix_needed)
        written = "|".join(f"(?:{plan.written})" for plan in self._free) or "(?!)"
        self._written: Final = re.compile(written).fullmatch
        form = written.replace("-?", _GAP).replace(")-(", f")(?![0-9]){_GAP}(")
        starts = (*map(re.escape, self._prefixes), form, f"[0-9]{{{_DIGITS_MIN}}}")
        self.begins: Final = re.compile(rf"\(?(?:{'|'.join(starts)})").match
        """Say at once that no number begins here: hostile text has a place at every other character."""
        sizes = [plan.sizes for plan in self._free]
        self._sizes: Final = frozenset[int]().union(*sizes) if all(sizes) else frozenset(range(_DIGITS_MAX + 1))

    def valid(self, groups: list[str]) -> bool:
        """Say whether the groups are a number of one of the regions.

        Where a prefix such as 0 leads every number, it must be there and the groups are free. Elsewhere the groups
        must be those of the plan, or any count of ten digits would be a number.
        """
        number = "".join(groups)
        if number.startswith(self._prefixes) and any(
            number.startswith(plan.prefix) and plan.valid(plan.bare(number)) for plan in self._prefixed
        ):
            return True
        if len(number) not in self._sizes or (len(groups) > 1 and not self._written("-".join(groups))):
            return False
        return any(plan.valid(number) or plan.valid(plan.bare(number)) for plan in self._free)


def _may_end(text: str, at: int, end: int) -> bool:
    """Say whether a number may end here: not in a word or before more of the same group. An extension may follow."""
    behind = text[at : at + 1]
    return (not behind.isalnum() or behind in "xX") and behind != "_" and not _GLUED.match(text, at, end)


class _World:
    """All numbering plans. Reads the library's data when it is built, not while text runs."""

    def __init__(self) -> None:
        import phonenumbers

        data: Any = phonenumbers.PhoneMetadata
        self._regions: Final[dict[str, Any]] = {
            region: data.metadata_for_region(region, None) for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        }
        self._codes: Final[dict[str, tuple[Any, ...]]] = {
            str(code): (data.metadata_for_nongeo_region(code),)
            if regions == ("001",)
            else tuple(self._regions[region] for region in regions)
            for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
        }
        self._plans: Final = cache(lambda code: tuple(map(_plan, self._codes[code])))

    def region(self, name: str) -> _Plan:
        return _plan(self._regions[name])

    def valid(self, groups: list[str]) -> bool:
        """Say whether the groups, a country code first, are a number of that country."""
        digits = "".join(groups)
        code = next((digits[:size] for size in (1, 2, 3) if digits[:size] in self._codes), "")
        if not code:
            return False
        number = digits[len(code) :]
        if len(groups) > 1 and groups[1] == "0":  # +49 (0) 30 ...
            number = number[1:]
        return any(plan.valid(number) for plan in self._plans(code))

    def valid_abroad(self, groups: list[str]) -> bool:
        """Say the same of groups that begin with 00; without any gap they may be anything."""
        return len(groups) > 1 and self.valid([groups[0][2:], *groups[1:]])


def _plan(metadata: Any) -> _Plan:
    described = (getattr(metadata, name) for name in _TYPES)
    prefix = metadata.national_prefix or ""
    rules = [form.national_prefix_formatting_rule for form in metadata.number_format]
    optional = any(form.national_prefix_optional_when_formatting for form in metadata.number_format)
    forms = [form.pattern.replace(")(", ")-(") for form in metadata.number_format]
    needed = bool(prefix) and not optional and any(rule and rule.lstrip("(").startswith(prefix) for rule in rules)
    lead = f"(?:{re.escape(prefix)}-?)?" if prefix else ""
    return _Plan(
        general=_description(metadata.general_desc),
        types=tuple(_description(item) for item in described if item is not None and item.national_number_pattern),
        prefix=prefix,
        prefix_needed=needed,
        prefix_form=re.compile(metadata.national_prefix_for_parsing) if metadata.national_prefix_for_parsing else None,
        transform=metadata.national_prefix_transform_rule,
        written=f"{lead}(?:{'|'.join(forms)})",
    )


def _description(item: Any) -> _Description:
    return frozenset(item.possible_length), re.compile(item.national_number_pattern or "[0-9]+")


def _fits(description: _Description, number: str) -> bool:
    lengths, form = description
    return (not lengths or len(number) in lengths) and form.fullmatch(number) is not None
