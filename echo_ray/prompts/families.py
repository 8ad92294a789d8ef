"""The registry of fill-in-the-middle families: which tokens a tokenizer must hold, and what they mean.

| family | order | published in |
|---|---|---|
| echo | SPM | ours: the bundled base model, marked by a token of its own |
| qwen2.5-coder | PSM | Hui et al. 2024 (arXiv 2409.12186), figures 3 and 4; QwenLM/Qwen2.5-Coder, examples |
| codegemma | PSM | CodeGemma Team 2024 (arXiv 2406.11409), table 1, figures 2 and 4; model card |
| granite-4 | PSM | model cards of ibm-granite/granite-4.0-*, "Fill-in-the-Middle" |
| granite-3 | PSM | model cards of ibm-granite/granite-3.3-*: StarCoder's sentinels, another end token |
| starcoder2 | PSM | Lozhkov et al. 2024 (arXiv 2402.19173), section 5.1 |
| starcoder | PSM | Li et al. 2023 (arXiv 2305.06161); Granite Code (Mishra et al. 2024, arXiv 2405.04324) |
| santacoder | PSM | Ben Allal et al. 2023 (arXiv 2301.03988); model card |
| deepseek-coder | PSM | Guo et al. 2024 (arXiv 2401.14196), section 3.1.2; README of DeepSeek-Coder |
| codellama | PSM | Roziere et al. 2023 (arXiv 2308.12950), section 2.3; `infilling_prompt_tokens` |
| codestral | SPM | `encode_fim` of mistralai/mistral-common; every Mistral with these tokens |

PSM is prefix, suffix, middle; SPM is suffix, prefix, middle. Several families were trained with both; what is
given is the form that their documentation prompts with.

Snippets of other files stand before the prompt in the way that the family was trained with (Qwen, StarCoder2,
CodeGemma), as Mistral's own extension of editors sends them (`+++++ path`), or else under a comment with the
path, as DeepSeek-Coder's README does for whole repositories.

Recognised from tokens alone, most particular first. Not told apart, for want of a token that differs:
Granite Code from StarCoder (the same form), DeepSeek V2 and later from DeepSeek-Coder (the same form), and
Mellum from StarCoder where it has the same tokens (Mellum is trained SPM, so it is not covered).
"""

import re
from dataclasses import dataclass
from typing import Literal

_BAR, _GAP = "\uff5c", "\u2581"
"""Look-alikes of `|` and `_`: DeepSeek's sentinels have both, SentencePiece writes a space as the second."""

OWN_PREFIX, OWN_SUFFIX, OWN_MIDDLE, OWN_END = (
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|endoftext|>",
)
"""Sentinels of the bundled tokenizer; the same strings that Qwen2.5-Coder uses."""

OWN_MARK = "<|echo_spm|>"
"""Marks a tokenizer of ours, whose models are trained suffix-first."""

Order = Literal["spm", "psm"]


@dataclass(frozen=True, slots=True)
class Files:
    """How the text of other files is put before a prompt. Tokens are named by their strings."""

    repository: str = ""
    """Token before the repository's name; left out when the name is not known."""
    repository_tail: str = ""
    """Text after the repository's name."""
    before: str = ""
    """Token before every file."""
    after: str = ""
    """Token after every file but the last, which is the one that is completed."""
    heading: str = "{path}\n"
    """Text before a file's content; left out when the path is not known."""
    tail: str = ""
    """Text after the content of every file but the last."""
    inside: bool = False
    """The last file's heading stands after the prefix sentinel, as part of the prefix."""


_COMMENTS = Files(heading="#{path}\n", tail="\n", inside=True)
"""For families without file tokens: a comment with the path."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the models of one family were trained with; tokens are named by their strings."""

    name: str
    order: Order
    prefix: str
    suffix: str
    middle: str
    """Empty where the answer follows the prefix without a sentinel."""
    end: str
    """Ends an answer, in training and when serving."""
    begin: str = ""
    """Stands before every prompt, where the models were trained so."""
    needs: tuple[str, ...] = ()
    """Further tokens by which the family is recognised."""
    stops: tuple[str, ...] = ()
    """Further tokens that mean the end of an answer; those that the tokenizer holds."""
    files: Files = _COMMENTS

    @property
    def required(self) -> tuple[str, ...]:
        """Tokens that the tokenizer must hold, each as a single one."""
        wanted = (self.prefix, self.suffix, self.middle, self.end, self.begin, *self.needs)
        return tuple(dict.fromkeys(token for token in wanted if token))


def _deepseek(*words: str) -> str:
    return f"<{_BAR}{_GAP.join(words)}{_BAR}>"


FAMILIES: tuple[Family, ...] = (
    Family("echo", "spm", OWN_PREFIX, OWN_SUFFIX, OWN_MIDDLE, OWN_END, needs=(OWN_MARK,)),
    Family(
        "qwen2.5-coder",
        "psm",
        OWN_PREFIX,
        OWN_SUFFIX,
        OWN_MIDDLE,
        "<|endoftext|>",
        needs=("<|repo_name|>", "<|file_sep|>"),
        stops=("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|im_start|>", "<|im_end|>"),
        files=Files("<|repo_name|>", "\n", before="<|file_sep|>", tail="\n"),
    ),
    Family(
        "codegemma",
        "psm",
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        "<|file_separator|>",
        begin="<bos>",
        needs=("<eos>",),
        stops=("<eos>", "<end_of_turn>"),
        files=Files(after="<|file_separator|>"),
    ),
    Family(
        "granite-4",
        "psm",
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        "<|end_of_text|>",
        stops=("<|fim_pad|>", "<|filename|>", "<|reponame|>", "<|endoftext|>"),
    ),
    Family(
        "granite-3",
        "psm",
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        "<|end_of_text|>",
        stops=("<fim_pad>", "<filename>", "<reponame>"),
    ),
    Family(
        "starcoder2",
        "psm",
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        "<|endoftext|>",
        needs=("<repo_name>", "<file_sep>"),
        stops=("<fim_pad>", "<repo_name>", "<file_sep>"),
        files=Files("<repo_name>", before="<file_sep>", inside=True),
    ),
    Family(
        "starcoder",
        "psm",
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        "<|endoftext|>",
        needs=("<filename>", "<reponame>"),
        stops=("<fim_pad>", "<filename>", "<reponame>"),
    ),
    Family(
        "santacoder",
        "psm",
        "<fim-prefix>",
        "<fim-suffix>",
        "<fim-middle>",
        "<|endoftext|>",
        stops=("<fim-pad>",),
    ),
    Family(
        "deepseek-coder",
        "psm",
        _deepseek("fim", "begin"),
        _deepseek("fim", "hole"),
        _deepseek("fim", "end"),
        _deepseek("end", "of", "sentence"),
        begin=_deepseek("begin", "of", "sentence"),
        stops=("<|EOT|>",),
    ),
    Family(
        "codellama",
        "psm",
        f"{_GAP}<PRE>",
        f"{_GAP}<SUF>",
        f"{_GAP}<MID>",
        f"{_GAP}<EOT>",
        begin="<s>",
        needs=("</s>",),
        stops=("</s>",),
    ),
    Family(
        "codestral",
        "spm",
        "[PREFIX]",
        "[SUFFIX]",
        "",
        "</s>",
        begin="<s>",
        stops=("[MIDDLE]",),
        files=Files(heading="+++++ {path}\n", tail="\n\n", inside=True),
    ),
)
"""Known families; the first whose tokens a tokenizer holds is its own."""

_PIPED = re.compile(rf"<[|{_BAR}].*[|{_BAR}]>", re.DOTALL)

_TOKENS = frozenset(token for family in FAMILIES for token in (*family.required, *family.stops))

LEAKS = tuple(
    sorted(
        (
            token
            for token in _TOKENS | {"<|fim_pad|>"}
            if _PIPED.fullmatch(token) or token.startswith(("<fim", "<file_sep"))
        ),
    )
)
"""Sentinels that as text mean that a model has left its answer. Those that code may well contain (`</s>`,
`<filename>`, `[PREFIX]`) are not among them."""


def is_control(token: str) -> bool:
    """Whether a token is a command to a model, which no text of a user may become."""
    return token in _TOKENS or _PIPED.fullmatch(token) is not None
