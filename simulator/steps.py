"""What a developer's flow yields, and what it is sent back.

`Developer.run` is a generator of `Ask` (to be answered with an `Answer`), and of `Report`, `Withdrawal` and
`Truth`, for which the answer is ignored. It knows no arm, no network and no real time.
"""

from dataclasses import dataclass

from echo_ray.schema import EventType, Kind


@dataclass(frozen=True, slots=True)
class Ask:
    """One completion request: what the production schema knows of it, and two things that stay here.

    `cancelled`: in virtual time the next key comes before the answer, so it is sent and aborted.
    `intent`: what is really to be written at the cursor. Bounds such as the oracle may look at it; it is
    never sent, logged, or shown to a model.
    """

    request_id: str
    user: str
    session: str
    file: str
    language: str
    prefix: str
    suffix: str
    prefix_complete: bool
    suffix_complete: bool
    ts_ms: int
    kind: Kind
    client: str
    """User agent."""
    cancelled: bool
    latency_ms: float
    """Virtual latency."""
    intent: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `text` is None when nothing did (cancelled, timed out)."""

    text: str | None
    latency_ms: float | None = None
    """Real milliseconds; None for an engine in this process."""
    model: str | None = None
    shadow: "Answer | None" = None
    """What another engine says to the same request, if one is asked beside the one that answers: it is judged
    and never shown (`simulator.desk.shadow`)."""


@dataclass(frozen=True, slots=True)
class Report:
    """A lifecycle event, as the editor plug-in reports it to a service that takes events."""

    request_id: str
    ts_ms: int
    user: str
    type: EventType
    accepted_chars: int | None = None
    visible_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """With measured latency: the answer to `request_id` came too late, so it was not delivered."""

    request_id: str
