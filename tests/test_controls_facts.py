"""What is counted of an arm's data."""

import pyarrow as pa
import pytest

from echo_ray.controls.facts import diversity, from_model, noise_found, trained_on
from echo_ray.controls.noise import NoiseConfig, is_pasted, paste_noise
from echo_ray.controls.static import FILES
from echo_ray.schema import Drop
from echo_ray.stages.pack import PACKED
from tests.study_rows import balanced, samples


def test_volumes_are_those_of_the_rows_that_are_left() -> None:
    rows = [
        {"sample_id": "a", "copy": 0, "input_ids": [1, 2, 3, 4], "prompt_tokens": 2},
        {"sample_id": "a", "copy": 1, "input_ids": [1, 2, 3, 4], "prompt_tokens": 2},
        {"sample_id": "b", "copy": 0, "input_ids": [1, 2, 9], "prompt_tokens": 2},
        {"sample_id": "c", "copy": 0, "input_ids": [], "prompt_tokens": 0, "drop": Drop.NO_ROOM.value},
    ]
    found = trained_on(pa.Table.from_pylist(rows, schema=PACKED))
    assert {"samples": 3, "voids": 1, "target_tokens": 5, "repeats": 2} == found
    assert 0 == trained_on(PACKED.empty_table())["samples"]


def test_noise_that_is_found_and_clean_text_that_goes_with_it() -> None:
    config = NoiseConfig(share=0.3)
    donors = pa.Table.from_pylist(
        [{"key": "k", "language": "python", "text": "\n".join(f"foreign_{n}()" for n in range(30))}],
        schema=FILES,
    )
    table = samples([{"sample_id": f"s{n}", "language": "python", "commit": "own()"} for n in range(200)])
    noisy = paste_noise(table, donors, config).table
    pasted = [f"s{n}" for n in range(200) if is_pasted(f"s{n}", config)]
    clean = [f"s{n}" for n in range(200) if not is_pasted(f"s{n}", config)]
    gone = set(pasted[: len(pasted) // 2]) | set(clean[:7])
    rows = [
        {"sample_id": name, "copies": name not in gone, "drop": "perplexity_tail" if name in gone else None}
        for name in noisy["sample_id"].to_pylist()
    ]
    found = noise_found(noisy, balanced([row | {"copies": int(row["copies"])} for row in rows]), config)
    assert pytest.approx((len(pasted) // 2) / len(pasted)) == found["noise_recall"]
    assert pytest.approx(7 / len(clean)) == found["clean_loss"]
    assert {"perplexity_tail": len(pasted) // 2} == found["by_reason"]
    nothing = noise_found(noisy, balanced([]), config)
    assert (None, None) == (nothing["noise_recall"], nothing["clean_loss"])


def test_a_model_that_says_the_same_is_less_diverse() -> None:
    many = diversity([f"value_{n} = compute ( {n} )" for n in range(20)])
    same = diversity(["value = compute ( 1 )"] * 19 + [""])
    assert 1.0 == many["distinct"]
    assert same["distinct"] == pytest.approx(1 / 19)
    assert same["silent"] == pytest.approx(1 / 20)
    assert same["distinct_4grams"] < many["distinct_4grams"]  # type: ignore[operator]
    assert diversity([]) == {
        **{"answers": 0, "silent": None, "distinct": None, "distinct_4grams": None, "mean_chars": None}
    }


def test_the_share_that_a_model_wrote() -> None:
    rows = [
        {"sample_id": "a", "human_chars": 6, "model_chars": 3, "pasted_chars": 1},
        {"sample_id": "b", "human_chars": None, "model_chars": None, "pasted_chars": None},
    ]
    assert pytest.approx(0.3) == from_model(samples(rows))
    assert from_model(samples([])) is None
