"""What every check looks at, and what it says: one sample with its syntax trees, and a finding.

Trees are made once per sample, when the first check asks: `spliced` first, the others by editing it, so that
a verdict is a function of the sample alone, and a good sample costs one parse of code without errors. Offsets
of a finding count characters of the target, half-open `[start, stop)`.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from echo_ray import syntax, text
from echo_ray.schema import Drop, LastEdit


class Check(StrEnum):
    """The checks, in the order in which a sample's first failure names its `drop`.

    What must never be learned comes first, so that the count of credentials is not hidden behind syntax; the
    one that costs a language model comes last.
    """

    SECRET = "secret"  # noqa: S105 - the name of a check
    """A credential."""
    PII = "pii"
    """Personal data."""
    MALICE = "malice"
    """Code that harms whoever runs it."""
    VOID = "void"
    """Silence where code was needed, or code where silence was (paper 4.4, boundary verification)."""
    SENTINEL = "sentinel"
    """A fill-in-the-middle or end token as text."""
    REPEAT = "repeat"
    """The target says again what the suffix says."""
    SYNTAX = "syntax"
    """The target adds syntax errors, or stands at the wrong indentation."""
    NAME = "name"
    """A name that nothing defines, or that is spelled otherwise everywhere else."""
    JUDGE = "judge"
    """A language model's opinion where the cheap checks are unsure."""


class Verdict(StrEnum):
    """What a check says about one sample."""

    PASS = "pass"  # noqa: S105 - a verdict
    """Checked, nothing found."""
    FAIL = "fail"
    """The sample is not trained on."""
    UNSURE = "unsure"
    """Something was found that may be right; a language model decides where there is one, else it stays."""
    NOT_APPLICABLE = "not_applicable"
    """Nothing to check: no grammar, no target, not this language."""


class Finding(NamedTuple):
    """A verdict and what it rests on. A secret itself never stands in `note`."""

    verdict: Verdict
    rule: str = ""
    """Short stable name of the rule that decided, e.g. `prefix_ends_open`; empty for a pass."""
    drop: Drop | None = None
    """The reason that a `fail` gives (for `unsure`: that it would give); null otherwise."""
    start: int | None = None
    """Span in the target, characters; null where the finding is about the context."""
    stop: int | None = None
    note: str = ""
    """A few words for people, e.g. `errors 2, context 1`."""


_SHOWN_CHARS = 1_000
"""Characters that are shown of what a commit has behind its target."""

PASS = Finding(Verdict.PASS)
NOT_APPLICABLE = Finding(Verdict.NOT_APPLICABLE)


@dataclass
class Case:
    """One sample to be checked."""

    prefix: str
    target: str
    suffix: str
    commit: str
    """The raw commit that the target begins; the target itself where it is not known."""
    language: str
    """VS Code language identifier."""
    prefix_complete: bool | None = None
    """Whether the prefix begins at the start of the document; None when unknown."""
    suffix_complete: bool | None = None
    """Whether the suffix reaches the end of the document; None when unknown."""
    last_edit: LastEdit | None = None
    """What the user did just before the request; None when unknown."""
    window_chars: int = 8_000
    """Characters on each side of the cursor that parsers see."""

    @property
    def goes_on(self) -> bool:
        """Whether the commit has more than the target and white space."""
        return len(self.commit.rstrip()) > len(self.target) and self.commit.startswith(self.target)

    @property
    def gap(self) -> str:
        """White space between the target and what the commit goes on with; empty when it does not."""
        rest = self.commit[len(self.target) :]
        return rest[: len(rest) - len(rest.lstrip())]

    @cached_property
    def _shown(self) -> str:
        """What stands in the gap: the target, its white space, and most of what the commit goes on with."""
        if not self.goes_on:
            return self.target + self.gap
        return text.head(self.commit, len(self.target) + _SHOWN_CHARS)

    @cached_property
    def spliced(self) -> syntax.Around | None:
        """Tree of prefix + what the user wrote + suffix around the cursor; None without a grammar.

        The target is the beginning of what the user wrote: a header line with the body that the commit has.
        """
        rest = self.commit[len(self._shown) :] if self.goes_on else ""
        suffix = rest + self.suffix if rest else self.suffix
        return syntax.around(self.prefix, self._shown, suffix, self.language, self.window_chars)

    @cached_property
    def cut(self) -> syntax.Around | None:
        """Tree of prefix + target + suffix, without what the commit goes on with; None without a grammar.

        The white space that the commit has behind the target is part of it: it keeps a suffix like `y = 2` on
        a line of its own.
        """
        return self._without(self.target + self.gap)

    @cached_property
    def context(self) -> syntax.Around | None:
        """Tree of prefix + suffix; None without a grammar."""
        return self._without("")

    def _without(self, middle: str) -> syntax.Around | None:
        if self.spliced is None:
            return None
        if self.goes_on and len(self._shown) < len(self.commit):  # then a part of it is taken for the suffix
            size = self.window_chars
            return syntax.around(self.prefix, middle, self.suffix, self.language, size, filling=self.commit)
        return self.spliced.spliced(middle)
