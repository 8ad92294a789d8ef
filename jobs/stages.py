"""Single stages from the command line: each works alone on folders that a person can look at."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from echo_ray import data, models, refinery, registry, schema, sealed
from echo_ray.cluster import running
from echo_ray.config import Config
from echo_ray.data import Manifest
from echo_ray.errors import ConfigError, EchoError
from echo_ray.log import partition
from echo_ray.stages import mine as mining
from echo_ray.stages import pack as packing
from jobs import card
from jobs.balance import balance_samples
from jobs.perplexity import perplexity_samples
from jobs.select import select_samples
from jobs.settings import RunConfig


def folders(section: str, config: Config, judges: bool = False) -> tuple[Path, Path]:
    """(input, output) of a stage. Raises ConfigError, naming the key, when one is not given or not there, and
    for the sealed truth of a simulation unless the job `judges`.
    """
    for key in ("input", "output"):
        if getattr(config, key) is None:
            raise ConfigError(f"{section}.{key} is not set: add {section}.{key}=FOLDER")
    source: Path = getattr(config, "input")  # noqa: B009 - Config itself has no such field
    output: Path = getattr(config, "output")  # noqa: B009
    if not source.exists():
        raise ConfigError(f"{section}.input={source} does not exist")
    if source.resolve() in (output.resolve(), *output.resolve().parents):
        raise ConfigError(f"{section}.output={output} lies in {section}.input={source}: name another folder")
    if not judges:
        sealed.refuse(source, f"{section}.input")
    return source, output


def say(manifest: Manifest, output: Path) -> None:
    """One line about a finished stage: what it dropped itself, and where its result is."""
    before = data.read_manifest(Path(manifest.input))
    earlier = before.drops if before is not None else {}
    new = {reason: count - earlier.get(reason, 0) for reason, count in manifest.drops.items()}
    drops = ", ".join(f"{count:,} {reason}" for reason, count in new.items() if count > 0)
    dropped = f"; dropped: {drops}" if drops else ""
    rows = f"{manifest.rows_in:,} rows in, {manifest.rows_out:,} out"
    print(f"{manifest.stage:<10} {rows}, {manifest.seconds:.1f} s{dropped} -> {output}", flush=True)


def import_(config: RunConfig, command: str) -> None:
    """Verb `import`: any version-1 log to session-partitioned Parquet."""
    source, output = folders("import", config.import_)
    with running(config.cluster):
        manifest = partition.partition(config.import_, source, output)
    warn(manifest, output)
    say(manifest, output)


def mine(config: RunConfig, command: str) -> None:
    """Verb `mine`: an experience log, partitioned or not, to samples."""
    source, output = folders("mine", config.mine)
    partition.check(source, "mine.input")
    with running(config.cluster):
        manifest = mine_log(config, source, output)
    say(manifest, output)


def mine_log(config: RunConfig, source: Path, output: Path) -> Manifest:
    """Mine `source`; a log that is not partitioned by session yet is shuffled to `output/.log` first."""
    if not partition.is_partitioned(source):
        fresh = not output.exists()
        data.claim(output)
        try:
            log = output / ".log"
            warn(partition.partition(config.import_, source, log, "mine.input"), log)
        except EchoError:
            if fresh:
                shutil.rmtree(output)
            raise
        source = output / ".log"
    return data.run_stage("mine", mining.mine, config.mine, source, output, schema.SAMPLE)


def _alone(
    section: str,
    stage: Callable[[RunConfig, Path, Path], Manifest],
    config: RunConfig,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Run one stage by itself; `check` raises for settings or input that cannot work, before Ray starts."""
    source, output = folders(section, getattr(config, section))
    if check is not None:
        check(source)
    with running(config.cluster):
        say(stage(config, source, output), output)


def distil(config: RunConfig, command: str) -> None:
    """Verb `distil`."""
    _alone(
        "distil",
        distil_samples,
        config,
        lambda source: refinery.check_distil(config.distil, config.teacher, source),
    )


def distil_samples(config: RunConfig, source: Path, output: Path) -> Manifest:
    """Cut every commit under `source` to its immediate intent."""
    return refinery.distil(config.distil, config.teacher, source, output)


def verify(config: RunConfig, command: str) -> None:
    """Verb `verify`."""
    _alone(
        "verify",
        verify_samples,
        config,
        lambda source: refinery.check_verify(config.verify, config.judge, source),
    )


def verify_samples(config: RunConfig, source: Path, output: Path) -> Manifest:
    """Check every target under `source`."""
    return refinery.verify(config.verify, config.judge, source, output)


def select(config: RunConfig, command: str) -> None:
    """Verb `select`."""
    _alone("select", select_samples, config)


def perplexity(config: RunConfig, command: str) -> None:
    """Verb `perplexity`."""
    _alone("perplexity", perplexity_samples, config)


def balance(config: RunConfig, command: str) -> None:
    """Verb `balance`: the data set and its card."""
    _alone("balance", balance_samples, config)
    assert config.balance.output is not None
    page, _ = card.make(config.card.updated(input=config.balance.output))
    print(f"balance    the data set's card is {page}")


def search(config: RunConfig, command: str) -> None:
    """Verb `search`."""
    from jobs.search import search_mixture

    _alone("search", search_mixture, config)


def pack(config: RunConfig, command: str) -> None:
    """Verb `pack`."""
    _alone("pack", pack_samples, config)


def pack_samples(config: RunConfig, source: Path, output: Path, key: str = "pack.input") -> Manifest:
    """Render and tokenize the balanced samples under `source`, which `key` names, for one model."""
    data.check_columns(source, packing.NEEDED, key)
    model = config.pack.model or models.BASE
    models.check(model, "pack.model")
    settings = config.pack.updated(model=model.resolve())
    identity = {"tokenizer": models.version(model)}
    return data.run_stage(
        *("pack", packing.pack, settings, source, output, packing.PACKED),
        identity=identity,
        notes={"tokenizer": models.tokenizer_version(model)},
    )


def train(config: RunConfig, command: str) -> None:
    """Verb `train`."""
    source, output = folders("train", config.train)
    models.check(config.train.model or models.BASE, "train.model")
    if not is_packed(source):
        data.check_columns(source, packing.NEEDED, "train.input")
    with running(config.cluster):
        say(train_model(config, source, output), output / "model")


def train_model(config: RunConfig, source: Path, output: Path) -> Manifest:
    """Fine-tune on the packed samples under `source`; samples that are not packed yet are packed first,
    beside `output`.
    """
    from echo_ray.train.launch import train as fine_tune

    model = config.train.model or models.BASE
    models.check(model, "train.model")
    if not is_packed(source):
        source = pack_beside(config, source, output, model)
    manifest = fine_tune(config.train, source, output, model)
    if config.train.registry:
        version = registry.register_training(config.train.registry, output)
        print(f"train      {output / 'model'} is {version.name} in {config.train.registry}", flush=True)
    return manifest


def is_packed(source: Path) -> bool:
    """Whether the files under `source` hold token ids. Raises what `data.units_of` does."""
    first = data.units_of(source)[0].paths[0]
    return "input_ids" in pq.read_schema(first).names


def pack_beside(config: RunConfig, source: Path, output: Path, model: Path) -> Path:
    """Pack the samples under `source` for `model` into a folder beside `output`; that folder."""
    packed = output.with_name(f"{output.name}.packed")
    settings = config.updated(pack=config.pack.updated(model=model))
    say(pack_samples(settings, source, packed, "train.input"), packed)
    return packed


def pretrain(config: RunConfig, command: str) -> None:
    """Verb `pretrain`."""
    from echo_ray.pretrain.run import run
    from echo_ray.progress import bar

    with bar("pretrain", config.pretrain.minutes * 60, "s") as shown:

        def progress(seconds: float, note: str) -> None:
            shown.update(round(seconds, 1) - shown.n)
            shown.set_postfix_str(note)

        folder = run(config.pretrain, command, progress)
    done = "measured" if config.pretrain.measure else "the model is in"
    print(f"pretrain: {done} {folder}; its held-out report is {config.pretrain.output / 'heldout.md'}")


def warn(manifest: Manifest, log: Path) -> None:
    """Print what a person should know about the imperfect log in `log`."""
    for sentence in partition.warnings(manifest, log):
        sys.stderr.write(f"echo-ray: {sentence}\n")
