"""First versions: what a developer means to write before they change their mind (sections 1.3, 3.2).

Of the characters typed in the recorded code trace 28% are gone after 30 s and 48% after 10 minutes, far more
than slips explain. So a work item is first written as a draft: some lines end differently, some are
preceded by a line that does not stay (debugging output, a comment that steers the model). While the draft
stands it is what the developer means; revisions turn it into the intent. What a draft says comes from the
text around it: other lines of the file and the text that the item replaces ("sibling statement / stale
identifier / earlier version"). All draws hang on the characters left to write, so drafts of twins are equal.
Not covered: revisions across lines.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from echo_ray import text as texts
from simulator.desk import typing_model
from simulator.draws import Draws

_WORD = re.compile(r"[A-Za-z_]\w{2,}")
_CUT = re.compile(r"(?<=[\s(\[{,.=:])")
_COMMENT = {"python": "#", "ruby": "#", "shellscript": "#", "yaml": "#"}
_MAX_LINES = 400  # of the surroundings; more give no better draft


class Why(StrEnum):
    """Why something stands that will be revised."""

    REPHRASE = "rephrase"
    EXTRA = "extra"
    PROMPT = "prompt"
    SLIP = "slip"
    """A wrong key, noticed after some more text."""
    UNSEEN = "unseen"
    """A wrong key, noticed when the code is run."""
    SKIP = "skip"
    """Left out, to be filled in."""


@dataclass(slots=True)
class Revision:
    """`draft[start:stop]` becomes `final`, once all of it is written and it is due."""

    start: int
    stop: int
    final: str
    why: Why
    wait: float
    """Seconds (rephrase, extra, prompt), or characters still to be written (slip, skip)."""
    due: float | None = None
    """Virtual time (ms), or characters left, at which it is due; None until it is written."""


def others(before: str, removed: str, after: str) -> list[str]:
    """Lines of the surroundings that can stand in for one another."""
    around = [
        *before.split("\n")[-_MAX_LINES // 2 :],
        *removed.split("\n"),
        *after.split("\n")[: _MAX_LINES // 2],
    ]
    return [line.strip() for line in around if 3 < len(line.strip()) <= 100]


def draft(
    draws: Draws, item: str, intent: str, lines: list[str], language: str, first_is_line: bool
) -> tuple[str, list[Revision]]:
    """The first version of `intent`, and the revisions that lead to it, in order.

    `lines` are `others`; `first_is_line` says that the intent begins at the start of a line.
    """
    parts: list[str] = []
    found: list[Revision] = []
    size, left = 0, len(intent)
    for number, line in enumerate(intent.split("\n")):
        lead = "\n" if number else ""
        whole = number > 0 or first_is_line
        body = line.strip()
        if whole and len(body) > 3:
            extra = _extra(draws, item, left, line, lines, language)
            if extra is not None:
                text = (
                    (lead + texts.indent_of(line) + extra[0])
                    if number
                    else texts.indent_of(line) + extra[0] + "\n"
                )
                found.append(Revision(size, size + len(text), "", extra[1], _seconds(draws, item, left)))
                parts.append(text)
                size += len(text)
        cut, alternative = _alternative(draws, item, left, line, lines)
        if alternative:
            head = lead + line[:cut]
            start = size + len(head)
            found.append(
                Revision(
                    start, start + len(alternative), line[cut:], Why.REPHRASE, _seconds(draws, item, left)
                )
            )
            parts += [head, alternative]
            size = start + len(alternative)
        else:
            parts.append(lead + line)
            size += len(lead) + len(line)
        left -= len(line) + 1
    return "".join(parts), found


def false_start(draws: Draws, lines: list[str], item: str, at: int) -> str:
    """The beginning of another of the `lines`, typed by mistake; "" for none."""
    if not lines or draws.unit("false start", item, at) >= typing_model.FALSE_START_SHARE:
        return ""
    least, most = typing_model.FALSE_START_CHARS
    line = lines[int(draws.unit("false line", item, at) * len(lines))]
    return line[: least + int(draws.unit("false length", item, at) * (most - least + 1))].rstrip()


def comment_mark(language: str) -> str:
    """What begins a comment to the end of the line."""
    return _COMMENT.get(language, "//")


def _seconds(draws: Draws, item: str, at: int) -> float:
    median, log_sd = typing_model.REVISE
    return draws.lognormal(median, log_sd, "revise after", item, at)


def _extra(
    draws: Draws, item: str, at: int, line: str, lines: list[str], language: str
) -> tuple[str, Why] | None:
    draw = draws.unit("extra", item, at)
    words = _WORD.findall(line)
    if draw < typing_model.PROMPT_SHARE:
        return (f"{comment_mark(language)} {' '.join(words[:5]).lower()}", Why.PROMPT) if words else None
    if draw < typing_model.PROMPT_SHARE + typing_model.EXTRA_SHARE and lines:
        return lines[int(draws.unit("extra line", item, at) * len(lines))], Why.EXTRA
    return None


def _alternative(draws: Draws, item: str, at: int, line: str, lines: list[str]) -> tuple[int, str]:
    """Where `line` first goes on differently, and how; the text is "" when it does not."""
    body = line.strip()
    if len(body) < 6 or not lines or draws.unit("rephrase", item, at) >= typing_model.REPHRASE_SHARE:
        return 0, ""
    indent = len(line) - len(line.lstrip())
    cuts = [match.start() for match in _CUT.finditer(line) if indent < match.start() < len(line)] or [indent]
    cut = cuts[int(draws.unit("rephrase at", item, at) * len(cuts))]
    other = lines[int(draws.unit("rephrase with", item, at) * len(lines))]
    tail = other[min(len(other) // 2, cut - indent) :].strip()[: max(8, 2 * (len(line) - cut))].rstrip()
    if not tail or tail == line[cut:] or tail[0] == line[cut] or tail[-1] == line[-1:]:
        tail = tail.strip(line[cut] + line[-1:]).strip()
    return cut, tail
