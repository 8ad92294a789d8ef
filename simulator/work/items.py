"""Work items: the unit of what a developer writes (section 3.2)."""

from dataclasses import dataclass
from enum import StrEnum

from simulator.person import Shift


class ItemKind(StrEnum):
    """What is written."""

    BLOCK = "block"
    """New lines: a function, a block, statements."""
    BODY = "body"
    """The body of a function whose signature stands."""
    MODIFY = "modify"
    """Existing text is changed."""
    IMPORT = "import"
    """An import or include that later code needs."""
    NEW_FILE = "new_file"
    TEST = "test"
    """Anything in a test file."""
    DELETE = "delete"
    """Text goes, nothing is written."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    r"""`removed` between `before` and `after` is to become `intent`.

    Items of one visit to a file chain: `before + intent + after` of one is the text of the document at the
    start of the next. `removed` and `intent` have no common start and no common end, except that an item
    that adds whole lines begins with the line end that leads to them (`intent[0] == "\n"`), as in an
    editor. All texts have `\n` line ends and no white space at line ends.
    """

    key: str
    """Unique for the user; all draws of the item hang on it. Holds no control character."""
    session: int
    """Number of the shift in which it is written."""
    visit: int
    """Number of the file opening, over all sessions; equal for items of one visit."""
    file: str
    """Pseudonym of the document."""
    repository: str
    """Pseudonym of the repository."""
    language: str
    kind: ItemKind
    before: str
    removed: str
    intent: str
    after: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All work of one developer: the sessions, and the items in order; every session has at least one."""

    user: str
    shifts: tuple[Shift, ...]
    items: tuple[WorkItem, ...]
