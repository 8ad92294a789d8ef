r"""Pure text arithmetic on `str`: offsets are characters, ranges half-open, newlines `\\n`.

Common prefix and suffix lengths are found by galloping over slices, so the work is done by `memcmp`,
not by a Python loop: a 6,000-character context costs about a microsecond.
"""


def common_prefix(a: str, b: str) -> int:
    """Number of leading characters that `a` and `b` share."""
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    low, high = 0, limit  # a[:low] == b[:low], a[:high] != b[:high]
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def common_suffix(a: str, b: str) -> int:
    """Number of trailing characters that `a` and `b` share."""
    limit = min(len(a), len(b))
    size_a, size_b = len(a), len(b)
    if a[size_a - limit :] == b[size_b - limit :]:
        return limit
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        if a[size_a - middle : size_a - low] == b[size_b - middle : size_b - low]:
            low = middle
        else:
            high = middle
    return low


def current_line(prefix: str) -> str:
    """Text between the last newline of `prefix` and the cursor."""
    return prefix[prefix.rfind("\n") + 1 :]


def indent_of(line: str) -> str:
    """Leading spaces and tabs of `line`."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def tail(text: str, max_chars: int) -> str:
    """Last `max_chars` characters of `text`, cut at a line start when the cut is not the whole text."""
    if len(text) <= max_chars:
        return text
    cut = text[len(text) - max_chars :]
    newline = cut.find("\n")
    return cut[newline + 1 :] if 0 <= newline < len(cut) - 1 else cut


def head(text: str, max_chars: int) -> str:
    """First `max_chars` characters of `text`, cut after a line end when the cut is not the whole text."""
    if len(text) <= max_chars:
        return text
    newline = text.rfind("\n", 0, max_chars)
    return text[: newline + 1] if newline > 0 else text[:max_chars]


def trim_trailing_space(text: str) -> str:
    """`text` without trailing white space on its last line and without trailing blank lines."""
    return text.rstrip()
