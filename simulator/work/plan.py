"""The work of one developer, laid out over the sessions before the first one begins (section 3.2).

The plan is the same for every model: a developer who is quicker, because suggestions help, does not get other
work. A session gets work for its minutes, estimated from the characters to write; it ends where an item ends,
and the next session opens the unfinished document again. An item that is longer than what is left of its
session begins in it with the probability that makes the minutes right on average; those that it takes too
long are missing in the sessions after it, and a session that has none left is not held.
Not covered: the time that is really needed, which the typing model knows only afterwards.
"""

import functools
from dataclasses import replace
from itertools import chain

from simulator import person
from simulator.config import SimulateConfig
from simulator.draws import Draws
from simulator.person import Shift
from simulator.work import style as styles
from simulator.work.items import Plan, WorkItem
from simulator.work.sources import Corpus
from simulator.work.tasks import Restyle, tasks

CHARS_PER_MINUTE = 21.0
"""Characters of intent that a developer finishes per active minute, pauses and repairs included. Fitted, so
that days with the base model last as long as they are planned. Section 1.4 has some 4,300 typed and 2,300
accepted characters in 52 to 93 editor minutes, much of which does not last."""
LEAST_CHARS = 10
"""An item costs at least the time of this many characters: one must go there and read. Our choice."""


def plan(config: SimulateConfig, corpus: Corpus, user: str) -> Plan:
    """All work of `user`; every session that is held has at least one item.

    Depends on the configuration, the corpus and the name alone. A longer simulation begins with the plan of
    a shorter one. Raises ConfigError when the corpus offers nothing to write.
    """
    draws = Draws(config.seed, user)
    shifts: list[Shift] = []
    work = chain.from_iterable(tasks(config, corpus, draws, _restyle(config, draws)))
    items: list[WorkItem] = []
    visit = -1
    spent = planned = 0.0
    sessions = person.shifts(draws, config.days, config.active_minutes)
    latest = [shift for shift in sessions if shift.day == sessions[0].day][-1]  # for the first item
    item = next(work)
    for shift in sessions:
        planned += shift.minutes
        document = -1
        while (shift is latest and not items) or spent + minutes(item) * draws.unit(
            "work begins", item.key
        ) < planned:
            if item.visit != document:
                visit, document = visit + 1, item.visit
            items.append(replace(item, session=len(shifts), visit=visit))
            spent += minutes(item)
            item = next(work)
        if document >= 0:
            shifts.append(replace(shift, number=len(shifts)))
    return Plan(user, tuple(shifts), tuple(items))


def minutes(item: WorkItem) -> float:
    """Estimated active minutes of an item for a developer without suggestions."""
    return max(len(item.intent), LEAST_CHARS) / CHARS_PER_MINUTE


def _restyle(config: SimulateConfig, draws: Draws) -> Restyle:
    if not config.style:
        return lambda text, language: text
    style = styles.style(draws)

    @functools.lru_cache(maxsize=64)
    def restyled(text: str, language: str) -> str:
        return styles.restyle(text, language, style)

    return restyled
