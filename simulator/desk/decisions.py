"""What a user decides about a suggestion, as values."""

from dataclasses import dataclass

from simulator.rules.policy import Verdict


@dataclass(frozen=True, slots=True)
class Taking:
    """What the user has decided to take: `text`, and the variant of the intent that it leads to."""

    text: str
    variant: str | None
    partial: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """A judgement and what follows from it. Times are virtual milliseconds of the clock."""

    verdict: Verdict
    taking: Taking | None
    """None: it is rejected."""
    decision_s: float
    """Seconds from display to decision; 0 when nobody looked."""
    until_ms: float
    """When the next key comes, or the text is taken."""
    escape_ms: float | None = None
    """When Esc takes the suggestion away, if it does."""

    @property
    def whole(self) -> bool:
        """Whether the whole suggestion is taken."""
        return self.taking is not None and not self.taking.partial
