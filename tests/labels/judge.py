"""For whoever labels: prints gaps to read, and turns what was judged into lengths.

`python -m tests.labels.judge show drawn.jsonl [ID ...]` prints the gaps: `[[` is the cursor, `]]` the end of
the commit, and the lines of the commit are numbered from 1, with the length up to their end.
`python -m tests.labels.judge apply drawn.jsonl judged.txt` prints `immediate.jsonl`. A line of `judged.txt`
is `ID LINE` (the unit ends with that line of the commit) or `ID LINE ENDING` (it ends with that text on that
line; the text must be there exactly once), and after ` || ` a second answer that is as right. `ID -` leaves a
gap out.
"""

import dataclasses
import json
import sys
from pathlib import Path

from tests.labels import Case, Label, case
from tests.labels.sources import contents

LINES_BEFORE, LINES_SHOWN, LINES_AFTER = 9, 11, 5


def read(path: str) -> list[tuple[Label, Case]]:
    """The gaps of a file that `draw` wrote."""
    labels = [Label(**json.loads(line)) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    texts = contents({label.place for label in labels})
    return [(label, case(label, texts[label.place])) for label in labels]


def show(gap: Case) -> str:
    """The gap for a reader."""
    before = gap.prefix.split("\n")[-LINES_BEFORE - 1 :]
    lines = gap.commit.split("\n")
    after = gap.suffix.split("\n")
    shown = [f"        | {line}" for line in before[:-1]]
    for number, line in enumerate(lines[:LINES_SHOWN], 1):
        first = f"{before[-1]}[[" if number == 1 else ""
        last = f"]]{after[0]}" if number == len(lines) else ""
        chars = len("\n".join(lines[:number]).strip())
        shown.append(f"{number:2} {chars:4} | {first}{line}{last}")
    if len(lines) > LINES_SHOWN:
        shown.append(f" .      | ... {len(lines) - LINES_SHOWN} more lines")
    shown += [f"        | {line}" for line in after[1 : LINES_AFTER + 1]]
    return f"=== {gap.id} ({gap.language})\n" + "\n".join(shown)


def length(gap: Case, answer: str) -> int:
    """Characters of the commit up to where `answer` (`LINE` or `LINE ENDING`) says that the unit ends."""
    number, _, ending = answer.strip().partition(" ")
    lines = gap.commit.split("\n")
    line = lines[int(number) - 1]
    before = sum(len(earlier) + 1 for earlier in lines[: int(number) - 1])
    if ending and line.count(ending) != 1:
        raise ValueError(f"{gap.id}: {ending!r} stands {line.count(ending)} times in {line!r}")
    cut = before + (line.index(ending) + len(ending) if ending else len(line.rstrip()))
    if not gap.commit[:cut].strip():
        raise ValueError(f"{gap.id}: nothing before {answer!r}")
    return cut


def apply(gaps: list[tuple[Label, Case]], judged: str) -> list[Label]:
    """The labels; raises ValueError for an answer that does not fit its gap, or a gap without an answer."""
    answers = dict(line.split(" ", 1) for line in judged.splitlines() if line.strip())
    done = []
    for label, gap in gaps:
        first, _, second = answers[label.id].partition(" || ")
        if first.strip() == "-":
            continue
        also = length(gap, second) if second else None
        done.append(dataclasses.replace(label, cut=length(gap, first), also=also))
    return done


if __name__ == "__main__":
    command, drawn, *others = sys.argv[1:]
    if command == "show":
        print("\n".join(show(gap) for label, gap in read(drawn) if not others or label.id in others))
    else:
        for label in apply(read(drawn), Path(others[0]).read_text(encoding="utf-8")):
            fields = dataclasses.asdict(label)
            print(json.dumps({key: value for key, value in fields.items() if value is not None}))
