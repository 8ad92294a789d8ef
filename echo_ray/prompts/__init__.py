"""Fill-in-the-middle prompts: one function renders for training and for serving, so they cannot differ.

`families` says which tokenizers are known and what their sentinels mean, `tokenizer` keeps texts as they are,
`budget` chooses what of a text fits, `template` puts it together. Importing this needs neither torch nor
transformers. Not covered: choosing snippets of other files; models whose form no token tells.
"""

from echo_ray.prompts.budget import Snippet
from echo_ray.prompts.families import (
    FAMILIES,
    LEAKS,
    OWN_END,
    OWN_MARK,
    OWN_MIDDLE,
    OWN_PREFIX,
    OWN_SUFFIX,
    Family,
)
from echo_ray.prompts.template import Template, template_for
from echo_ray.prompts.tokenizer import FastTokenizer, Tokenizer

__all__ = [
    "FAMILIES",
    "LEAKS",
    "OWN_END",
    "OWN_MARK",
    "OWN_MIDDLE",
    "OWN_PREFIX",
    "OWN_SUFFIX",
    "Family",
    "FastTokenizer",
    "Snippet",
    "Template",
    "Tokenizer",
    "template_for",
]
