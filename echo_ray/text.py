r"""Pure text arithmetic on `str`: offsets are characters, ranges half-open, newlines `\\n`.

Common prefix and suffix lengths are found by galloping over slices, so the work is done by `memcmp`,
not by a Python loop: a 6,000-character context costs about a microsecond.
"""


def common_prefix(a: str, b: str, hint: int = 0) -> int:
    """Number of leading characters that `a` and `b` share.

    `hint` is a guess of the answer that only changes the speed: where somebody typed, it is the cursor.
    """
    low, high = 0, min(len(a), len(b))  # a[:low] == b[:low]; the answer is at most high
    if 0 < hint <= high:
        if a[:hint] == b[:hint]:
            if hint == high or a[hint] != b[hint]:
                return hint
            low = hint
        else:
            high = hint - 1
    if a[low:high] == b[low:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def common_suffix(a: str, b: str, hint: int = 0) -> int:
    """Number of trailing characters that `a` and `b` share; `hint` as in `common_prefix`."""
    size_a, size_b = len(a), len(b)
    low, high = 0, min(size_a, size_b)
    if 0 < hint <= high:
        if a[size_a - hint :] == b[size_b - hint :]:
            if hint == high or a[size_a - hint - 1] != b[size_b - hint - 1]:
                return hint
            low = hint
        else:
            high = hint - 1
    if a[size_a - high : size_a - low] == b[size_b - high : size_b - low]:
        return high
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
