"""`Template`: the sentinels of one tokenizer as ids, and `render`, which makes every prompt of this project.

Training (`pack`, `perplexity`, `pretrain`) and serving call the same function, so they cannot differ. A
tokenizer that knows none of the registered sets is refused, never served with raw text.

Suffix first (SPM) where the model was trained that way: on a keystroke stream the prompt then only grows at
its end and a prefix cache answers almost all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from echo_ray.errors import SchemaError
from echo_ray.prompts.budget import Snippet, after_cursor, before_cursor, leading_space, other_files
from echo_ray.prompts.families import FAMILIES, Family, Files, Order
from echo_ray.prompts.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Template:
    """FIM sentinels of one model as token ids, and the order it was trained with."""

    name: str
    """Family, as in `families`."""
    order: Order
    """`psm`: prefix, suffix, middle; `spm`: suffix, prefix, middle."""
    prefix: int
    suffix: int
    middle: int | None
    """None where the answer follows the prefix at once."""
    end: int
    """The last token of every answer that is trained on."""
    begin: int | None = None
    """Stands before every prompt; None where the model was not trained so."""
    ends: tuple[int, ...] = ()
    """All ids at which generation stops, `end` among them, ascending."""
    specials: tuple[int, ...] = ()
    """All control tokens of the family that the tokenizer holds, ascending."""
    files: Files = Files()  # noqa: RUF009 - frozen

    def render(
        self,
        tokenizer: Tokenizer,
        prefix: str,
        suffix: str,
        max_tokens: int,
        suffix_share: float = 0.3,
        snippets: Sequence[Snippet] = (),
        *,
        snippet_share: float = 0.25,
        repository: str = "",
        path: str = "",
    ) -> list[int]:
        """Prompt ids, at most `max_tokens` (at least 8), of which the suffix takes at most `suffix_share`.

        The suffix keeps its start and the prefix its end: text far from the cursor goes first. What the
        suffix leaves unused belongs to the prefix.

        `snippets`, most important first, take at most `snippet_share`, and never more than half of what the
        suffix leaves, so they displace the far end of the prefix at most. `repository` and `path` (of the
        file that is completed) are shown only together with snippets.
        """
        room = max_tokens - self.overhead
        right = after_cursor(tokenizer, suffix, int(room * suffix_share), max_tokens)
        room -= len(right)
        outside: list[int] = []
        inside: list[int] = []
        if snippets:
            least = min(int((max_tokens - self.overhead) * snippet_share), room // 2)
            outside, inside = other_files(
                tokenizer, self.files, snippets, least, max_tokens, repository, path
            )
        space = "" if inside else leading_space(tokenizer)
        left = before_cursor(tokenizer, prefix, room - len(outside) - len(inside), max_tokens, space)
        head = [*([] if self.begin is None else [self.begin]), *outside]
        tail = [] if self.middle is None else [self.middle]
        if self.order == "spm":
            return [*head, self.suffix, *right, self.prefix, *inside, *left, *tail]
        return [*head, self.prefix, *inside, *left, self.suffix, *right, *tail]

    @property
    def overhead(self) -> int:
        """Tokens of a prompt that are no text."""
        return 2 + (self.begin is not None) + (self.middle is not None)


def template_for(tokenizer: Tokenizer) -> Template:
    """Template whose sentinels `tokenizer` holds as single tokens.

    Raises SchemaError with the list of known families when there is none.
    """
    nearest: tuple[int, Family, list[str]] | None = None
    for family in FAMILIES:
        lacks = [token for token in family.required if _token_id(tokenizer, token) is None]
        if not lacks:
            return _template(tokenizer, family)
        held = len(family.required) - len(lacks)
        if _token_id(tokenizer, family.prefix) is not None and (nearest is None or held > nearest[0]):
            nearest = held, family, lacks
    near = f" (nearest: {nearest[1].name}, but without {', '.join(nearest[2])})" if nearest else ""
    families = ", ".join(family.name for family in FAMILIES)
    raise SchemaError(
        f"the tokenizer has no known fill-in-the-middle tokens{near}; known families: {families}"
    )


def _template(tokenizer: Tokenizer, family: Family) -> Template:
    def number(token: str) -> int:
        found = _token_id(tokenizer, token)
        assert found is not None
        return found

    known = {token for token in (*family.required, *family.stops) if _token_id(tokenizer, token) is not None}
    inner = {family.prefix, family.suffix, family.middle, family.end, *family.stops}
    return Template(
        name=family.name,
        order=family.order,
        prefix=number(family.prefix),
        suffix=number(family.suffix),
        middle=number(family.middle) if family.middle else None,
        end=number(family.end),
        begin=number(family.begin) if family.begin else None,
        ends=tuple(sorted({number(token) for token in inner & known})),
        specials=tuple(sorted({number(token) for token in known})),
        files=family.files,
    )


def _token_id(tokenizer: Tokenizer, token: str) -> int | None:
    number = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(number, int):
        return None
    unknown = getattr(tokenizer, "unk_token_id", None)
    return None if number == unknown else number
