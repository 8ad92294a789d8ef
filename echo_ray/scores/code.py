"""CodeBLEU (Ren et al. 2020): the mean of four corpus scores, by the parts of the PyPI package `codebleu`.

n-gram match (BLEU), weighted n-gram match (recall of n-grams, where a unigram that is no keyword counts a
fifth), syntax match (subtrees of the target that the answer has), data-flow match (edges between variables,
renamed in order of appearance). The package's keyword lists, n-gram counts, smoothing, comment removal and
data-flow extractors are called as they are, with our grammars; its top-level function is not, because it
wants grammar packages of its own. `tests/test_text_scores.py` compares both. What differs, and why:

- Counts are kept by sample, so that the score of resampled users is a sum; the package gives scores only.
- Tokens are those of our BLEU; by white space alone, `f(a)` is one token and hides its names.
- An order for which no text is long enough is left out (as in our BLEU); the package counts it as wrong, and
  two equal texts of three tokens do not score 1. The same for data flow: where the targets have none, three
  parts are averaged; the package takes 1 there, and takes 1 also where all data flow is wrong.
- The sources of a data-flow edge are put into the order of the text; the package leaves some in the order
  of a set of strings, which is another one in every process.
- The weighted part has no brevity penalty: it is a recall. The package computes one against a length of two
  tokens for every target, by mistake.
- Text is cut after MOST_CHARS characters, letters beyond ASCII are spelled in ASCII (the package counts bytes
  and reads characters), and code nested in more than MOST_LOOPS loops has no data flow (each loop doubles the
  work).

Our choices: TypeScript has the extractor and the keywords of JavaScript, and its own grammar; C and C++
have the extractor of C#, as in XLCoST and the package. Vue and everything else: no CodeBLEU. An answer that
goes on in the middle of a statement is parsed like a whole program, as is usual; both sides then have the
same errors.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import codebleu
import tree_sitter_language_pack
from codebleu import bleu as plain
from codebleu import dataflow_match
from codebleu import weighted_ngram_match as weighted
from codebleu.parser import remove_comments_and_docstrings
from tree_sitter import Node, Parser

from echo_ray import syntax
from echo_ray.scores.ngrams import ORDER, tokens

LANGUAGES = {
    "python": "python",
    "javascript": "javascript",
    "javascriptreact": "javascript",
    "typescript": "javascript",
    "typescriptreact": "javascript",
    "java": "java",
    "go": "go",
    "c": "c",
    "cpp": "cpp",
}
"""VS Code language id to the package's name of keywords and data flow."""

MOST_CHARS = 2_000
"""Text behind this is not looked at (characters): subtrees cost the square of a text's depth."""
MOST_LOOPS = 8
"""Deepest nest of loops whose data flow is extracted (count)."""
KEYWORD_WEIGHT = 5
"""Weight of a keyword, where any other unigram weighs 1 (the package: 1 and 0.2, the same shares)."""
CODE_COUNTS = 4 * ORDER + 6
"""Length of the counts of a sample: matches and n-grams of order 1..4 plain, the same weighted, tokens of the
answer and of the target, subtrees matched and in the target, data-flow edges matched and in the target."""

_LETTER = re.compile(r"[^\x00-\x7f]")
_LOOPS = frozenset(
    (
        *("for_statement", "while_statement", "do_statement", "for_in_statement", "for_in_clause"),
        *("enhanced_for_statement", "for_range_loop", "for_each_statement", "foreach_statement"),
    )
)


def code_bleu(targets: Sequence[str], answers: Sequence[str], language: str) -> float | None:
    """Corpus CodeBLEU (0..1) of the answers; None for a language that it does not know.

    Raises ValueError for lengths that differ.
    """
    if language not in LANGUAGES:
        return None
    rows = [code_counts(target, answer, language) for target, answer in zip(targets, answers, strict=True)]
    sums = [sum(column) for column in zip(*(row for row in rows if row is not None), strict=True)]
    return code_bleu_of(sums or [0.0] * CODE_COUNTS)


def code_counts(target: str, answer: str, language: str) -> tuple[float, ...] | None:
    """What one sample adds to the counts of a corpus; None for a language that CodeBLEU does not know."""
    if language not in LANGUAGES:
        return None
    target, answer = (_ascii(text.strip()[:MOST_CHARS]) for text in (target, answer))
    wanted, given = tokens(target), tokens(answer)
    known = _keywords(LANGUAGES[language])
    weights = {token: KEYWORD_WEIGHT if token in known else 1 for token in wanted}
    matches: list[float] = []
    totals: list[float] = []
    heavy: list[float] = []
    heavy_totals: list[float] = []
    for order in range(1, ORDER + 1):
        # Both give at least 1 as the number of n-grams, also where a text has none.
        matched, total = plain.modified_precision([wanted], given, order)
        matches.append(matched)
        totals.append(total if len(given) >= order else 0)
        matched, total = weighted.modified_recall([[wanted, weights]], given, order)
        heavy.append(matched)
        heavy_totals.append(total if len(wanted) >= order else 0)
    return (
        *(*matches, *totals, *heavy, *heavy_totals, len(given), len(wanted)),
        *_subtrees_matched(target, answer, language),
        *_edges_matched(target, answer, language),
    )


def code_bleu_of(counts: Sequence[float]) -> float:
    """CodeBLEU (0..1) of summed `code_counts`; 1 when there is no token on either side."""
    matches, totals, heavy, heavy_totals = (counts[at : at + ORDER] for at in range(0, 4 * ORDER, ORDER))
    answered, wanted, *trees_and_edges = counts[4 * ORDER :]
    if not answered and not wanted:
        return 1.0
    trees, all_trees, edges, all_edges = trees_and_edges
    penalty: float = plain.brevity_penalty(wanted, answered)
    parts = [penalty * _geometric(matches, totals), _geometric(heavy, heavy_totals), trees / all_trees]
    if all_edges:
        parts.append(edges / all_edges)
    return float(sum(parts) / len(parts))


def _geometric(matches: Sequence[float], totals: Sequence[float]) -> float:
    """Geometric mean of the shares of all orders that exist; the package smooths those without a match."""
    pairs = [(matched, total) for matched, total in zip(matches, totals, strict=True) if total > 0]
    if not pairs or matches[0] == 0:
        return 0.0
    smooth = plain.SmoothingFunction().method1(pairs)
    return math.exp(math.fsum(math.log(matched / total) for matched, total in smooth) / len(smooth))


@functools.cache
def _keywords(name: str) -> frozenset[str]:
    path = Path(codebleu.__file__).parent / "keywords" / f"{name}.txt"
    return frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines())


@functools.cache
def _parser(language: str) -> Parser:
    return Parser(tree_sitter_language_pack.get_language(syntax.GRAMMARS[language]))


def _ascii(text: str) -> str:
    """`text` with every letter beyond ASCII spelled as a name, and any other such character as `?`."""
    if text.isascii():
        return text
    return _LETTER.sub(lambda found: f"u{ord(found[0]):x}" if found[0].isalnum() else "?", text)


def _without_comments(text: str, language: str) -> str:
    try:
        stripped: str = remove_comments_and_docstrings(text, LANGUAGES[language])
    except Exception:  # noqa: BLE001 - Python's tokenizer raises several kinds for half a program
        return text
    return stripped


def _subtrees_matched(target: str, answer: str, language: str) -> tuple[int, int]:
    """(subtrees of the target that the answer has, subtrees of the target)."""
    wanted, given = (
        Counter(_subtrees(_without_comments(text, language), language)) for text in (target, answer)
    )
    return sum(count for tree, count in wanted.items() if tree in given), wanted.total()


def _subtrees(text: str, language: str) -> list[str]:
    """Every inner node with all below it, names left out, as tree-sitter writes it."""
    queue: list[Node] = [_parser(language).parse(text.encode()).root_node]
    for node in queue:  # grows while it is read
        queue += (child for child in node.children if child.child_count)
    return [str(node) for node in queue]


def _edges_matched(target: str, answer: str, language: str) -> tuple[int, int]:
    """(data-flow edges of the target that the answer has, edges of the target)."""
    wanted, given = (
        Counter(_edges(_without_comments(text, language), language)) for text in (target, answer)
    )
    return (wanted & given).total(), wanted.total()


def _edges(text: str, language: str) -> list[tuple[str, str, tuple[str, ...]]]:
    parser = _parser(language)
    if _loops(parser.parse(text.encode()).root_node) > MOST_LOOPS:
        return []
    extract = dataflow_match.dfg_function[LANGUAGES[language]]
    flow = dataflow_match.get_data_flow(text, [parser, extract])
    names = {item[1]: item[0] for item in flow}
    flow = [(*item[:3], _ordered(item[3], item[4], names), item[4]) for item in flow]
    return [
        (name, relation, tuple(sources))
        for name, relation, sources in dataflow_match.normalize_dataflow(flow)
    ]


def _ordered(sources: list[str], places: list[int], names: dict[int, str]) -> list[str]:
    """The names of an edge's sources in the order of the text; repeated names say that they are in it."""
    if len(set(sources)) < len(sources):
        return sources
    first: dict[Any, int] = {}
    for place in sorted(places):
        first.setdefault(names.get(place), place)
    return sorted(sources, key=lambda name: (first.get(name, math.inf), name))


def _loops(root: Node) -> int:
    """Loops around the innermost loop, itself included."""
    deepest, stack = 0, [(root, 0)]
    while stack:
        node, depth = stack.pop()
        depth += node.type in _LOOPS
        deepest = max(deepest, depth)
        stack += ((child, depth) for child in node.children if child.child_count)
    return deepest
