"""What a base model makes of held-out spans and gaps (`heldout.py` says which, and what follows from it).

Exact match needs no token-by-token generation: a forward pass over prompt and expected answer shows, at
every place, which token greedy decoding would take there. Up to the first place where that is another token
the two are the same; a different token may still spell the expected text, then the rest is tried again from
there. So a gap costs one forward pass, and a few more when the model spells the answer in its own way.

Rows are padded on the right, where causal attention cannot see. Not covered: several GPUs; models whose
answer begins with a space that their tokenizer drops.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echo_ray import models
from echo_ray.pretrain.heldout import Gap, Scores, Span
from echo_ray.prompts import FastTokenizer, Template

POSITIONS = {"cpu": 2048, "cuda": 65_536}
"""Most tokens of one forward pass by device, padding included; on a CPU more would leave its cache."""
_PROMPT = 4096
"""More tokens than any prompt has: nothing is cut by tokens, only by bytes."""
Row = tuple[Sequence[int], Sequence[int]]
"""Token ids that are given, and token ids that follow."""


def score(
    folder: Path, name: str, spans: Sequence[Span], gaps: Sequence[Gap], key: str = "pretrain.compare"
) -> Scores:
    """Scores of the model in `folder`. Raises ConfigError or SchemaError, naming `key`, for an unfit one."""
    template = models.check(folder, key)
    tokenizer = FastTokenizer(folder)
    model = Model(folder, template.end)
    rows: list[Row] = [
        ([template.end, *tokenizer.encode(span.context)], tokenizer.encode(span.text)) for span in spans
    ]
    span_nats = [nats for nats, _ in model.look(rows)]
    prompts = [template.render(tokenizer, gap.prefix, gap.suffix, _PROMPT, suffix_share=0.5) for gap in gaps]
    gap_nats, exact = answers(model, tokenizer, template, prompts, [gap.target for gap in gaps])
    return Scores(name, span_nats, gap_nats, exact)


class Model:
    """A causal language model: forward passes over rows of any length, batched by length, in bfloat16 (as it
    is trained and served) or in float32.
    """

    def __init__(self, folder: Path, padding: int, bfloat16: bool = True) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self._model.eval().to(self._device)
        self._padding, self._bfloat16 = padding, bfloat16

    def look(self, rows: Sequence[Row]) -> list[tuple[float, list[int]]]:
        """For each row: -log p of what follows (nats), and the likeliest token at each place of that."""
        import torch
        import torch.nn.functional as functional

        result: list[tuple[float, list[int]]] = [(0.0, [])] * len(rows)
        most = POSITIONS[self._device.type]
        for numbers in _batches([len(given) + len(follows) for given, follows in rows], most):
            width = max(len(rows[number][0]) + len(rows[number][1]) for number in numbers)
            ids = torch.full((len(numbers), width), self._padding)
            for place, number in enumerate(numbers):
                whole = [*rows[number][0], *rows[number][1]]
                ids[place, : len(whole)] = torch.tensor(whole)
            with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, self._bfloat16):
                logits = self._model(input_ids=ids.to(self._device), use_cache=False).logits
            for place, number in enumerate(numbers):
                given, follows = rows[number]
                own = logits[place, len(given) - 1 : len(given) + len(follows) - 1].float()
                expected = torch.tensor(follows, device=own.device)
                nats = float(functional.cross_entropy(own, expected, reduction="sum"))
                result[number] = nats, own.argmax(dim=-1).tolist()
        return result


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Row numbers, rows of similar length together, at most `most` padded tokens in a batch of several."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if batch and lengths[number] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


@dataclass(slots=True)
class _Try:
    """An answer that is right so far."""

    number: int
    answer: list[int]
    draft: list[int]


def answers(
    model: Model,
    tokenizer: FastTokenizer,
    template: Template,
    prompts: Sequence[Sequence[int]],
    targets: Sequence[str],
) -> tuple[list[float], list[bool]]:
    """-log p of each target and the end token after its prompt (nats), and whether greedy decoding gives
    exactly that target and then one of the tokens at which generation stops.
    """
    exact = [False] * len(prompts)
    nats = [0.0] * len(prompts)
    tries = [_Try(number, [], [*tokenizer.encode(text), template.end]) for number, text in enumerate(targets)]
    while tries:
        looks = model.look([([*prompts[one.number], *one.answer], one.draft) for one in tries])
        again: list[_Try] = []
        for one, (surprise, greedy) in zip(tries, looks, strict=True):
            if not one.answer:
                nats[one.number] = surprise
            outcome = _follow(one, greedy, targets[one.number], tokenizer, template)
            if isinstance(outcome, _Try):
                again.append(outcome)
            else:
                exact[one.number] = outcome
        tries = again
    return nats, exact


def _follow(
    one: _Try, greedy: list[int], target: str, tokenizer: FastTokenizer, template: Template
) -> "_Try | bool":
    """Whether the answer is right, when `greedy` decides that; else the try to go on with."""
    agreed = next(
        (n for n, pair in enumerate(zip(greedy, one.draft, strict=True)) if pair[0] != pair[1]), None
    )
    if agreed is None:
        return tokenizer.decode([*one.answer, *one.draft[:-1]], skip_special_tokens=False) == target
    answer = [*one.answer, *one.draft[:agreed]]
    if greedy[agreed] in (template.end, *template.ends):
        return tokenizer.decode(answer, skip_special_tokens=False) == target
    answer.append(greedy[agreed])
    text = tokenizer.decode(answer, skip_special_tokens=False)
    # The last character may be in the middle of being spelled.
    text = text if target.startswith(text) else text.rstrip("\ufffd")
    # Each token of an answer spells a byte or more, so a longer one is no answer.
    if not target.startswith(text) or len(answer) > len(target.encode()):
        return False
    return _Try(one.number, answer, [*tokenizer.encode(target[len(text) :]), template.end])
