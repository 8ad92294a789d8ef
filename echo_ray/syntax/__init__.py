"""Syntax trees of half-written code around a cursor: what other packages use (paper 4.3, 4.4).

`around` makes the tree of a small window, `tree` holds trees and tokens, `units` finds statements; `window`
and `texts` choose what of a long context is parsed.
"""

from echo_ray.syntax.around import Around, around, errors
from echo_ray.syntax.tree import (
    GRAMMARS,
    Parsed,
    Token,
    atom,
    comment,
    count_errors,
    error_spans,
    in_comment,
    line_end,
    parse,
    tokens,
    unclosed,
)
from echo_ray.syntax.units import Unit, block_end, columns, enclosing, expressions, statement

__all__ = [
    "GRAMMARS",
    "Around",
    "Parsed",
    "Token",
    "Unit",
    "around",
    "atom",
    "block_end",
    "columns",
    "comment",
    "count_errors",
    "enclosing",
    "error_spans",
    "errors",
    "expressions",
    "in_comment",
    "line_end",
    "parse",
    "statement",
    "tokens",
    "unclosed",
]
