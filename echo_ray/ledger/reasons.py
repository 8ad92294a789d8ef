"""What a drop reason means, in the words of `schema.Drop` itself: its docstrings."""

import ast
import inspect
from functools import cache
from itertools import pairwise

from echo_ray import schema
from echo_ray.schema import Drop


def meaning(reason: str) -> str:
    """One sentence about a reason, without its stage; empty for one that this version does not know."""
    text = _sentences().get(reason, "")
    return text.partition(": ")[2] or text


def stage_of(reason: str) -> str | None:
    """The stage that gives a reason, the first where several do; None for one that is not known."""
    head, colon, _ = _sentences().get(reason, "").partition(": ")
    return head.split(",")[0].strip() if colon else None


@cache
def _sentences() -> dict[str, str]:
    """Docstring of each reason; Python keeps none for the members of an enum, so its source is read."""
    tree = ast.parse(inspect.getsource(schema))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Drop")
    found = {}
    for node, after in pairwise(body):
        if (
            isinstance(node, ast.Assign)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            name = node.targets[0]
            assert isinstance(name, ast.Name)
            found[Drop[name.id].value] = " ".join(str(after.value.value).split())
    return found
