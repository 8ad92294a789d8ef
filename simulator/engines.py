r"""Stand-ins for a model: bounds, attacks on the metrics, and misbehaviour (section 4, rule 6).

Every engine is a deterministic function of the ask and the material. The oracle's family looks at what the
developer means to write; nothing else does. None of them may beat a real model on the composite of AR, GR
and time saved; the degenerate ones show what each metric alone would reward.
Not covered: slowness, which is the server's (`doubles.serving`, `delay_s`).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from echo_ray import rng
from echo_ray import text as texts
from echo_ray.errors import ConfigError
from simulator.steps import Ask
from simulator.work.sources import Corpus

LONG_LINES = 10
"""Lines that `oracle_long` proposes at most."""
GARBAGE_CHARS = 5_000
"""Length of what `garbage` answers."""
MATERIAL_CHARS = 250_000
"""Characters of the material that `ngram` learns; about 100 bytes of memory each."""
ORDERS = (12, 6)
"""Lengths of the contexts that `ngram` looks up, longest first (characters)."""
NEARBY_CHARS = 3_000
"""Characters before the cursor in which `ngram` looks for the context first."""
NGRAM_CHARS = 80
"""Longest proposal of `ngram` (characters)."""
SCAN_CHARS = 2_000
"""Characters before the cursor in which `closing_bracket` looks for what is open."""

_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])")
_NESTING = r"""
    | \"{3}.*?\"{3} | '{3}.*?'{3}
    | (?P<block> \"{3} | '{3} )
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | `[^`]*`
    | (?P<quote> ["'`] )
    | (?P<open> [(\[{] )
    | (?P<close> [)\]}] )
"""
_HASH = re.compile(r"\#[^\n]*" + _NESTING, re.DOTALL | re.VERBOSE)
_SLASH = re.compile(r"//[^\n]* | /\*.*?\*/" + _NESTING, re.DOTALL | re.VERBOSE)
_HASH_LANGUAGES = frozenset({"python", "ruby", "shellscript", "yaml", "r", "perl"})
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Material:
    """What a stand-in may learn from: texts of source files, and the key of its choices."""

    texts: tuple[str, ...]
    seed: int = 0


class Engine(Protocol):
    """Answers requests in this process."""

    name: str
    """What it is called in settings and reports."""
    version: str
    """Immutable version, logged as the model of its answers."""

    def complete(self, ask: Ask) -> str | None:
        """The proposal; "" is silence, None no answer at all."""


@dataclass(slots=True)
class StandIn:
    """An engine that is a plain function."""

    name: str
    version: str
    answer: Callable[[Ask], str | None]

    def complete(self, ask: Ask) -> str | None:
        """The proposal; "" is silence, None no answer at all."""
        return self.answer(ask)


def engine(name: str, material: Material) -> Engine:
    """The stand-in `name` over `material`. Raises ConfigError for a name that is not in `STAND_INS`."""
    if name not in STAND_INS:
        raise ConfigError(f"simulate.engine must be one of {', '.join(STAND_INS)}, got {name!r:.80}")
    return STAND_INS[name](material)


def material(corpus: Corpus, seed: int = 0) -> Material:
    """A sample of the corpus, up to `MATERIAL_CHARS`: whole files in the order of a hash of their paths.

    Developers may be writing these very files, so what learns from it may have seen the answers.
    """
    files = sorted(corpus.files, key=lambda file: rng.digest(seed, "material", file.path))
    kept, chars = list[str](), 0
    for file in files:
        chars += len(file.text)
        if kept and chars > MATERIAL_CHARS:
            break
        kept.append(file.text)
    return Material(tuple(kept), seed)


def oracle(ask: Ask) -> str:
    """Upper bound: the rest of the line, or the next line at a line's end; silent when nothing is left."""
    return _lines(ask.intent, 1)


def oracle_long(ask: Ask) -> str:
    """Right text, wrong length: everything that is left, up to 10 lines.

    Attacks measures that count accepted characters and forget who has to read them.
    """
    return _lines(ask.intent, LONG_LINES)


def one_token(ask: Ask) -> str:
    """Right text, wrong length: the next token of the intent, with the white space before it.

    Attacks AR: the prototype accepted .62 of such suggestions, and GR was .15 (section 0, finding 2).
    """
    match = _TOKEN.match(ask.intent)
    return match.group() if match else ""


def empty(ask: Ask) -> str:
    """Silence, always: "", a model that calls every gap void.

    Attacks measures per suggestion; nothing is shown, so nothing is wrong.
    """
    return ""


def always_silent(ask: Ask) -> str:
    r"""Blank text, always: "\n" and indentation, an answer that has characters and shows nothing.

    Attacks counters that take any text for a suggestion. `empty` answers "", `never` not at all.
    """
    return "\n    "


def closing_bracket(ask: Ask) -> str:
    """Closes the innermost open bracket or quote before the cursor; silent when none is open.

    Attacks AR with the cheapest text that is often right. It skips comments and whole strings by rough
    rules, within the last 2,000 characters.
    """
    scanned = texts.tail(ask.prefix, SCAN_CHARS)
    line_start = scanned.rfind("\n") + 1
    stack: list[str] = []
    code = _HASH if ask.language in _HASH_LANGUAGES else _SLASH
    for match in code.finditer(scanned):
        found = match.group()
        if match["open"]:
            stack.append(_CLOSING[found])
        elif match["close"]:
            if stack and stack[-1] == found:
                stack.pop()
        elif match["block"] or (match["quote"] and (found == "`" or match.start() >= line_start)):
            return found  # a lone quote on an earlier line is an apostrophe
    return stack[-1] if stack else ""


def line_above(ask: Ask) -> str:
    """Copies the nearest line with text above, from the cursor's column on; all of it as a new line when
    nothing is left there. Silent in the first line.

    Attacks measures of likeness: neighbours in code look alike.
    """
    *above, line = ask.prefix.split("\n")
    copied = next((text for text in reversed(above) if text.strip()), "")
    rest = copied[len(line) :]
    return rest if rest.strip() or not copied else "\n" + copied


def garbage(ask: Ask) -> str:
    """Misbehaviour: 5,000 characters of control codes, line ends and letters; the editor must survive."""
    stream = rng.generator(0, "garbage", ask.user, ask.ts_ms)
    return "".join(map(chr, stream.choices(range(1, 256), k=GARBAGE_CHARS)))


def never(ask: Ask) -> None:
    """Misbehaviour: no answer at all. In place None; behind HTTP the connection stays silent."""
    return


def random_context(material: Material) -> Callable[[Ask], str]:
    """A line of the material, chosen without looking at the context; keyed by user and time.

    The floor: code of the same project in the wrong place. Silent when the material has no line of 9
    characters.
    """
    lines = [line.strip() for text in material.texts for line in text.split("\n")]
    lines = [line for line in lines if len(line) > 8]

    def answer(ask: Ask) -> str:
        return rng.choice(lines, material.seed, "line", ask.user, ask.ts_ms) if lines else ""

    return answer


def ngram(material: Material) -> Callable[[Ask], str]:
    r"""The rest of the line after the latest place with the same last characters: before the cursor in the
    same file, else in the material; first 12 characters, then 6. Silent when there is none.

    A model of no merit that answers in microseconds and looks only at the prefix, for tests of everything
    around a model. At the end of a line it goes on with the line that followed there.
    """
    learned, places = _learn(material.texts)

    def answer(ask: Ask) -> str:
        near = ask.prefix[-NEARBY_CHARS:]
        for order in ORDERS:
            context = near[-order:]
            if len(context) < order:
                continue
            at = near.rfind(context, 0, -1)
            if at >= 0 and (rest := _rest(near, at + order)):
                return rest
            place = places.get(context)
            if place is not None and (rest := _rest(learned, place)):
                return rest
        return ""

    return answer


def _learn(files: Iterable[str]) -> tuple[str, dict[str, int]]:
    """The learned text, and where in it the latest occurrence of each context ends."""
    learned = "\n\n".join(files)[:MATERIAL_CHARS]
    places = {learned[end - order : end]: end for order in ORDERS for end in range(order, len(learned))}
    return learned, places


def _rest(text: str, start: int) -> str:
    """From `start` to the end of that line, of the next one when `start` is a line's end; "" for blanks."""
    end = text.find("\n", start)
    if end == start:
        end = text.find("\n", start + 1)
    rest = text[start : min(end if end >= 0 else len(text), start + NGRAM_CHARS)]
    return "" if rest.isspace() else rest


def _lines(intent: str, count: int) -> str:
    """`count` lines of `intent` from its first text on, with the white space before them.

    "" when only white space is left.
    """
    if not intent.strip():
        return ""
    start = len(intent) - len(intent.lstrip())
    return intent[:start] + "\n".join(intent[start:].split("\n")[:count])


def _plain(name: str, answer: Callable[[Ask], str | None]) -> Callable[[Material], Engine]:
    return lambda material: StandIn(name, f"stand-in-{name}-1", answer)


def _taught(name: str, teach: Callable[[Material], Callable[[Ask], str]]) -> Callable[[Material], Engine]:
    def build(material: Material) -> Engine:
        key = rng.digest(material.seed, *material.texts)
        return StandIn(name, f"stand-in-{name}-1-{key:016x}", teach(material))

    return build


STAND_INS: dict[str, Callable[[Material], Engine]] = {
    "oracle": _plain("oracle", oracle),
    "oracle_long": _plain("oracle_long", oracle_long),
    "one_token": _plain("one_token", one_token),
    "empty": _plain("empty", empty),
    "always_silent": _plain("always_silent", always_silent),
    "closing_bracket": _plain("closing_bracket", closing_bracket),
    "line_above": _plain("line_above", line_above),
    "garbage": _plain("garbage", garbage),
    "never": _plain("never", never),
    "random_context": _taught("random_context", random_context),
    "ngram": _taught("ngram", ngram),
}
"""All stand-ins by name."""
