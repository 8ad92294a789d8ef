"""What kind of work the changes of a file are, and which names its imports bring (section 3.2).

Told by regular expressions on paths and lines; good enough to label and to order work.
Not covered: imports inside functions that share their lines with other code; names that `*` or a C++ header
brings (a header counts as its own name).
"""

import functools
import re
from dataclasses import dataclass

from simulator.work.edits import Edit, Run, changes, document
from simulator.work.items import ItemKind

_TEST = re.compile(
    r"(^|/)(tests?|__tests__|specs?|e2e|cypress|testing)/|(^|/)(test_|conftest\.)[^/]*$"
    r"|[^/]*(_tests?|\.test|\.spec|\.cy)\.\w+$|(^|/)Test[A-Z][^/]*$|(^|/)[^/]*Tests?\.java$"
)

_SCRIPT_IMPORT = (
    r"(?:import\b[^;'\"]*?(?:from\s*)?['\"][^'\"\n]+['\"]|(?:const|let|var)\s+[\w${},:\s]+=\s*require\([^)\n]*\)[\w.]*)"
    r"[ \t]*;?"
)
_IMPORTS = {
    "python": r"(?:from\s+[\w.]+\s+import\s+(?:\([^)]*\)|[^\n(]+)|import\s+[^\n]+)",
    "go": r"(?:import\s*\((?:\s*(?:[\w.]+\s+)?\"[^\"\n]+\")*\s*\)"
    r"|(?:import\s+)?(?:[\w.]+[ \t]+)?\"[^\"\n]+\")",
    "java": r"import\s+[\w.*\s]+;",
    "c": r"\#[ \t]*include[^\n]+",
    "rust": r"(?:pub\s+)?use\s+[^;]+;",
    "javascript": _SCRIPT_IMPORT,
}
_IMPORTS |= {"cpp": _IMPORTS["c"]} | dict.fromkeys(
    ("javascriptreact", "typescript", "typescriptreact", "vue"), _SCRIPT_IMPORT
)
_ONLY_IMPORTS = {
    language: re.compile(rf"\s*(?:{one}[ \t]*(?:(?://|\#)[^\n]*)?\s*)+") for language, one in _IMPORTS.items()
}
_PATH_NAMES = {"go", "c", "cpp"}  # the name is the last part of a quoted path
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_NO_NAME = frozenset(
    {"import", "from", "as", "const", "let", "var", "require", "type", "static", "use", "pub"}
)


@dataclass(frozen=True, slots=True)
class Hunk:
    """One run of changed lines: its edits from top to bottom, and the new lines as a whole."""

    kind: ItemKind
    edits: tuple[Edit, ...]
    added: str
    imports: bool
    """All new lines import or include something."""

    def words(self) -> frozenset[str]:
        """Identifiers in the new lines."""
        return frozenset(_WORD.findall(self.added))


def is_test(path: str) -> bool:
    """Whether `path` names test code, by the habits of the supported languages."""
    return _TEST.search(path) is not None


@functools.lru_cache(maxsize=512)
def hunks(old: str, new: str, language: str, test: bool) -> tuple[Hunk, ...]:
    """The hunks that turn one text into another (see `edits.changes`), in file order.

    An empty `old` is a new file, one hunk. `test` marks files of test code.
    """
    if not old:
        text = document(new)[:-1]
        kind = ItemKind.TEST if test else ItemKind.NEW_FILE
        return (Hunk(kind, (Edit(0, 0, text),), text, False),) if text else ()
    return tuple(_hunk(run, language, test) for run in changes(old, new))


def _hunk(run: Run, language: str, test: bool) -> Hunk:
    added = "\n".join(run.added)
    imports = only_imports(added, language)
    if not run.added:
        kind = ItemKind.DELETE
    elif test:
        kind = ItemKind.TEST
    elif run.removed:
        kind = ItemKind.MODIFY
    else:
        kind = ItemKind.IMPORT if imports else ItemKind.BLOCK
    return Hunk(kind, run.edits, added, imports)


def only_imports(text: str, language: str) -> bool:
    """Whether all lines of `text` import or include something, at least one of them."""
    pattern = _ONLY_IMPORTS.get(language)
    return pattern is not None and pattern.fullmatch(text) is not None


def imported(text: str, language: str) -> frozenset[str]:
    """Names that the import lines `text` bring into scope, as far as the text tells."""
    if language in _PATH_NAMES:
        paths = re.findall(r"([\w.]*)[ \t]*[\"<]([^\">\n]+)[\">]", text)
        return frozenset(
            alias if alias not in ("", "import", "include") else _stem(path) for alias, path in paths
        )
    text = re.sub(r"['\"][^'\"\n]*['\"]", "", text)  # a module's path is no name
    if language == "python":
        text = re.sub(r"from\s+[\w.]+\s+import", "", text)
        text = re.sub(r"[\w.]+\s+as\s+", "", text)
        return frozenset(_WORD.findall(re.sub(r"(?<=\w)\.[\w.]+", "", text))) - _NO_NAME
    if language in ("java", "rust"):
        return frozenset(re.findall(r"(\w+)\s*(?=[;,}])", text)) - _NO_NAME
    return frozenset(_WORD.findall(text)) - _NO_NAME


def _stem(path: str) -> str:
    parts = [part for part in path.split("/") if not re.fullmatch(r"v\d+", part)]
    return parts[-1].split(".")[0] if parts else path
