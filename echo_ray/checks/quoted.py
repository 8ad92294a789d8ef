"""Whether the cursor of a Python file stands inside a triple-quoted string, told from the whole prefix.

A window that begins inside a docstring turns text and code inside out, and no tree can tell. Where the prefix
is known to begin at the file's start, its quotes can be counted instead: microseconds.

Not covered: triple quotes inside comments and other strings, which count here too; other languages.
"""

import re

from echo_ray.checks.case import Case

_TRIPLE = re.compile(r'"""|\'\'\'')


def inside(case: Case) -> bool | None:
    """Whether a triple-quoted string is open at the cursor; None where nobody can tell."""
    if case.language != "python":
        return None
    if '"""' not in case.prefix and "'''" not in case.prefix:
        return False if case.prefix_complete else None
    if not case.prefix_complete:
        return None
    opened = ""
    for match in _TRIPLE.finditer(case.prefix):
        if not opened:
            opened = match.group()
        elif opened == match.group():
            opened = ""
    return opened != ""
