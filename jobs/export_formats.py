"""What other trainers read: one record per copy, and the files that tell them how.

| format | record | who adds the end token |
|---|---|---|
| `hf` | `prompt`, `completion` | stands in `completion`; TRL adds its `eos_token` only if it does not |
| `axolotl` | `segments` of `label` and `text` (type `input_output`) | nobody: it stands in the last segment |
| `llamafactory` | alpaca: `instruction`, `input` (empty), `output`; template `empty` | nobody: in `output` |

Every record also has `sample_id`, for `explain`, and `owner`, a one-way mark by which `erase` finds the
records of a person; the trainers leave other fields alone.
"""

import json
from collections.abc import Mapping
from typing import Any

from jobs.export_prompts import Text

NAME = "echo"
"""Name of the data set for LLaMA-Factory."""


def record(form: str, text: Text, end: str, sample_id: str, owner: str) -> dict[str, Any]:
    """One record of the format `form`."""
    answer = text.target + end
    if form == "hf":
        fields: dict[str, Any] = {"prompt": text.prompt, "completion": answer}
    elif form == "axolotl":
        segments = [{"label": False, "text": text.prompt}, {"label": True, "text": answer}]
        fields = {"segments": segments}
    else:
        fields = {"instruction": text.prompt, "input": "", "output": answer}
    return fields | {"sample_id": sample_id, "owner": owner}


def companions(form: str, files: str, model: str, longest: int) -> dict[str, str]:
    """Further files of the format, by name: settings that read the data; `longest` in tokens."""
    room = max(64, -(-longest // 64) * 64)
    if form == "axolotl":
        kind = "json" if files == "jsonl" else "parquet"
        return {
            "axolotl.yaml": f"""\
# What echo_ray knows; learning rate, epochs and the rest are yours.
base_model: {json.dumps(model)}
datasets:
  - path: data
    data_files: [{json.dumps(f"data/*.{files}")}]
    ds_type: {kind}
    type: input_output
train_on_inputs: false
sequence_len: {room}
sample_packing: true
"""
        }
    if form == "llamafactory":
        columns = {"prompt": "instruction", "query": "input", "response": "output"}
        info = {NAME: {"file_name": "data", "formatting": "alpaca", "columns": columns}}
        return {
            "dataset_info.json": json.dumps(info, indent=2) + "\n",
            "llamafactory.yaml": f"""\
# What echo_ray knows; learning rate, epochs and the rest are yours.
model_name_or_path: {json.dumps(model)}
stage: sft
do_train: true
dataset_dir: .
dataset: {NAME}
template: empty
train_on_prompt: false
cutoff_len: {room}
""",
        }
    return {}


def readme(form: str, files: str, facts: Mapping[str, Any]) -> str:
    """`README.md` of an export."""
    begins = facts["begins"]
    warning = (
        f"The tokenizer puts the ids {begins} before every text unless it is told\n"
        "  `add_special_tokens=False`; our own training does not. Change the tokenizer's settings, or\n"
        "  accept one more token."
        if begins
        else "The tokenizer adds no token of its own before a text."
    )
    left = "; ".join(f"{count:,} {reason}" for reason, count in sorted(facts["left_out"].items())) or "none"
    return f"""\
# Samples of developers' experience, for {_TITLES[form]}

{facts["records"]:,} records of {facts["samples"]:,} samples (each as often as it is to be trained on), made
from data set `{facts["data_set"]}` for the tokenizer of `{facts["tokenizer"]}`.

- The prompt is the model's own fill-in-the-middle form ({facts["template"]}): what stood after the cursor and
  before it, between sentinel tokens. With special tokens parsed, the text gives exactly the ids that
  `echo-ray pack` makes; in {facts["edge_moved"]:,} samples the window is a few tokens smaller far from the
  cursor.
- The answer is what the developer left there, then `{facts["end"]}`. An empty answer is silence: only the end
  token is learned.
- {warning}
- Longest record: {facts["longest"]:,} tokens. Samples left out: {left}.
- `sample_id` is the id for `echo-ray explain`; `owner` is a one-way mark, by which `echo-ray erase` finds a
  person's records in this folder. Trainers leave both alone.

## Use

{_USES[form].replace("FILES", files)}
"""


_TITLES = {"hf": "Hugging Face TRL", "axolotl": "axolotl", "llamafactory": "LLaMA-Factory"}
_USES = {
    "hf": """\
```python
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

data = load_dataset("READER", data_files="data/*.FILES", split="train")
args = SFTConfig(completion_only_loss=True)
trainer = SFTTrainer(model="MODEL", train_dataset=data, args=args)
trainer.train()
```

TRL appends the tokenizer's `eos_token` to a completion that does not end with it; where that is another token
than the end token above, set `SFTConfig(eos_token=...)` to the end token.""",
    "axolotl": """\
`axolotl.yaml` holds what this data set needs: `axolotl train axolotl.yaml` in this folder. Segments are
tokenized as they are; nothing is added.""",
    "llamafactory": """\
`llamafactory-cli train llamafactory.yaml` in this folder. `dataset_info.json` describes the records; the
template is `empty`, since the prompt is whole already.""",
}
