"""Developers at work against a completion service, real, started here, or a stand-in: experience for the log.

Everything that a user leaves is on disk when the user is done, so a job that was killed goes on with the
others. The request log is written on the client's side, the same whoever answers; a service started here
writes its own as always, which is compared with ours and then removed.
"""

import contextlib
import difflib
import functools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echo_ray import __version__, models
from echo_ray.cluster import check_memory, has_gpu, running
from echo_ray.config import fingerprint
from echo_ray.data import MANIFEST, Manifest, claim, read_manifest, settings, write_manifest
from echo_ray.errors import ConfigError
from echo_ray.log import partition
from echo_ray.privacy.config import PrivacyConfig
from echo_ray.progress import bar
from echo_ray.serve import launch, preflight
from echo_ray.serve.config import Arm, ServeConfig
from jobs import fleet, service_log
from jobs.settings import RunConfig
from jobs.stages import say, warn
from simulator import engines
from simulator.config import SimulateConfig, Split
from simulator.desk import clients
from simulator.fleet import ledger
from simulator.fleet.team import Job, Summary, behaviour, is_address, names
from simulator.rules import policy
from simulator.work import sources
from simulator.work.sources import Corpus

STAGE = "simulate"

AS_SENT = PrivacyConfig(redact=False, personal=False, pseudonyms=False)
"""Records as the simulated developers send them."""


@dataclass(frozen=True, slots=True)
class Answering:
    """Who answers: an address or a stand-in, by `engine`, or a service that is started here, by `serve`."""

    engine: str
    serve: ServeConfig | None
    identity: dict[str, Any]
    """What decides the answers, for fingerprints."""
    label: str


def simulate(config: RunConfig, command: str) -> None:
    """Verb `simulate`."""
    output = config.simulate.output
    if output is None:
        raise ConfigError("simulate.output is not set: add simulate.output=FOLDER")
    check(config, ("train",))
    claim(output)
    with running(config.cluster):
        manifest = experience(config, output / "log", output)
    say(manifest, output / "log")
    rate, generated = manifest.notes["acceptance_rate"], manifest.notes["generation_rate"]
    print(
        f"simulate   AR {'-' if rate is None else f'{100 * rate:.1f}%'}, GR {100 * generated:.1f}%, "
        f"{manifest.notes['requests_per_s']:,.1f} requests/s; the sealed truth is in {output / ledger.TRUTH}"
    )


def check(config: RunConfig, splits: Sequence[Split]) -> None:
    """Refuse, before anything starts, work that is not there and a service that cannot run."""
    check_memory(config.cluster.min_memory_gb)
    policy.load(config.simulate.policy)
    clients.check(list(config.simulate.clients))
    answering = who_answers(config)
    for split in splits:
        corpus(config.simulate, split)
    if answering.serve is not None:
        preflight.resolve(answering.serve)
        if answering.serve.port:
            preflight.check_port(answering.serve.host, answering.serve.port)


def experience(
    config: RunConfig,
    log: Path,
    folder: Path,
    split: Split = "train",
    shared: Callable[[], str] | None = None,
) -> Manifest:
    """Let the developers of `split` work, leave their requests partitioned in `log`, and in `folder` the
    sealed truth, `tallies.jsonl` and the manifest. Users who were done when the job was killed are not
    simulated again. `shared` gives the address of a service for several runs (`one_service`), whose log is
    not compared with ours.
    """
    chosen = plain(config.simulate)
    answering = who_answers(config)
    users = names(split, chosen.users)
    identity = {"code": __version__, "behaviour": behaviour(chosen), "engine": answering.identity}
    identity |= {} if split == "train" else {"split": split}
    mark = fingerprint({"stage": STAGE, "users": chosen.users, **identity})
    done = read_manifest(folder)
    if done is not None and done.fingerprint == mark and partition.is_partitioned(log):
        ledger.tidy(folder)
        return done
    began = time.monotonic()
    for place in (folder, log):
        claim(place)
    (folder / MANIFEST).unlink(missing_ok=True)
    ledger.prepare(folder, mark)
    segments = folder / ledger.WORK / "service"
    todo = ledger.left(folder, users)
    own = answers(answering, {}, segments, todo) if shared is None or not todo else nullcontext(shared())
    with own as url:
        job = Job(chosen, split, url, None, folder)
        spent, workers, wall_s = work(config, [job], answering, [users], STAGE)
    notes = service_log.compare(segments, [ledger.log_folder(folder)])
    summary, imported = collect(config, job, users, log)
    manifest = Manifest(
        stage=STAGE,
        fingerprint=mark,
        input=", ".join(chosen.sources),
        input_fingerprint=fingerprint(behaviour(chosen)),
        config=settings(config.simulate),
        columns={},
        rows_in=summary.requests,
        rows_out=imported.rows_out,
        drops={},
        seconds=round(time.monotonic() - began, 3),
        engine=answering.label,
        notes={
            "engine": answering.identity,
            **measures(chosen, [summary], spent, workers, wall_s),
            "quarantined": imported.notes["quarantined"],
            "events": imported.notes["events"],
            **({} if notes is None else {"service_log": notes}),
        },
    )
    write_manifest(folder, manifest)
    ledger.tidy(folder)
    return manifest


def measures(
    config: SimulateConfig, arms: Sequence[Summary], spent: fleet.Count, workers: int, wall_s: float
) -> dict[str, Any]:
    """What a manifest says of a run: rates, policy, and what the simulator itself cost.

    `simulator_cpu_share` is the share of the workers' wall time in which they computed: 1 says that the
    simulator was what the run waited for, a small share that the service was.
    """
    rule = policy.load(config.policy)
    both = Summary([tally for arm in arms for tally in arm.tallies])
    return {
        "policy": rule.name,
        "policy_hash": rule.hash,
        "policy_shift": rule.shift,
        "acceptance_rate": both.acceptance_rate,
        "generation_rate": both.generation_rate,
        "failures": both.failed,
        "requests_per_s": round(spent.requests / wall_s, 1) if spent.requests else 0.0,
        "wall_s": round(wall_s, 3),
        "workers": workers,
        "simulator_cpu_s": round(spent.cpu_s, 3),
        "simulator_cpu_share": round(spent.cpu_s / (wall_s * workers), 3) if spent.requests else 0.0,
    }


def plain(section: SimulateConfig) -> SimulateConfig:
    """The developers' settings alone, without those of the command."""
    return SimulateConfig.model_validate(section.model_dump(include=set(SimulateConfig.model_fields)))


def corpus(section: SimulateConfig, split: Split) -> Corpus:
    """The work of one split; read once per process, for a check and for the run after it."""
    return _corpus(plain(section).model_dump_json(exclude={"users", "concurrency"}), split)


@functools.lru_cache(maxsize=8)
def _corpus(described: str, split: Split) -> Corpus:
    return sources.load(SimulateConfig.model_validate_json(described), split)


def who_answers(config: RunConfig) -> Answering:
    """What `simulate.engine` names. Raises ConfigError for something that cannot answer."""
    name = config.simulate.engine
    if name is not None and is_address(name):
        return Answering(name, None, {"url": name}, name)
    if name in engines.STAND_INS:
        return Answering(name, None, {"stand_in": name, "code": __version__}, f"stand-in {name}")
    if name is not None and not Path(name).is_dir():
        near = difflib.get_close_matches(name, engines.STAND_INS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f" ({', '.join(sorted(engines.STAND_INS))})"
        raise ConfigError(
            f"simulate.engine={name} is neither an address (http://host:port), nor a model folder, nor a "
            f"stand-in{hint}"
        )
    model = Path(name) if name is not None else config.serve.model or models.BASE
    models.check(model, "serve.model" if name is None else "simulate.engine")
    serve = config.serve.updated(model=model, arms={})
    return Answering("", serve, {"model": models.version(model), "serve": _serving(serve)}, serving_engine())


def _serving(serve: ServeConfig) -> dict[str, Any]:
    """Settings of a service that decide its answers."""
    wanted = {"max_tokens", "context_tokens", "suffix_share", "temperature", "silence_below"}
    return serve.model_dump(mode="json", include=wanted)


@contextlib.contextmanager
def answers(
    answering: Answering, arms: Mapping[str, Arm], segments: Path, todo: Sequence[str]
) -> Iterator[str]:
    """The address or name of who answers; a service is started for it if there is anything to do."""
    if answering.serve is None or not todo:
        yield answering.engine
        return
    segments.mkdir(parents=True, exist_ok=True)
    own = {name: arm.model_dump() for name, arm in arms.items()}
    # Simulated people have virtual clocks, which a cache with a real one would make a matter of luck, and no
    # secrets; their names join the log to the sealed truth.
    chosen = answering.serve.updated(
        arms=own, log_dir=segments, trust_client=True, cache_s=0, upkeep_s=0, privacy=AS_SENT
    )
    with bar("engines", None, "s") as shown:

        def progress(what: str, seconds: float) -> None:
            shown.update(round(seconds) - shown.n)

        service = launch.start(chosen, progress)
    with service:
        yield service.url


@contextlib.contextmanager
def one_service(config: RunConfig, segments: Path) -> Iterator[Callable[[], str]]:
    """One service for several runs: started when its address is first asked for, stopped at the end.
    `segments` holds its own log meanwhile.
    """
    answering = who_answers(config)
    with contextlib.ExitStack() as stack:

        @functools.cache
        def address() -> str:
            return stack.enter_context(answers(answering, {}, segments, ["somebody"]))

        try:
            yield address
        finally:
            stack.close()
            shutil.rmtree(segments, ignore_errors=True)


def work(
    config: RunConfig,
    jobs: Sequence[Job],
    answering: Answering,
    users: Sequence[Sequence[str]],
    label: str,
) -> tuple[fleet.Count, int, float]:
    """Those of `users[n]` who are not done yet work for `jobs[n]`, with a bar: (what they did, workers, wall
    seconds).
    """
    todo = [ledger.left(job.folder, own) for job, own in zip(jobs, users, strict=True)]
    total, left = sum(map(len, users)), sum(map(len, todo))
    workers = config.simulate.workers or fleet.spare_cpus(
        _cpus(answering, sum(len(job.engines) for job in jobs))
    )
    corpora = {job.split: corpus(config.simulate, job.split) for job in jobs} if left else {}
    began = time.monotonic()
    with bar(label, total, "developers") as shown:
        shown.update(total - left)

        def progress(done: int, requests: int) -> None:
            rate = requests / max(time.monotonic() - began, 1e-9)
            shown.set_postfix_str(f"{requests:,} requests, {rate:,.0f}/s", refresh=False)
            shown.update(total - left + done - shown.n)

        spent = fleet.run(jobs, corpora, todo, workers, progress)
    return spent, workers, max(time.monotonic() - began, 1e-9)


def collect(config: RunConfig, job: Job, users: Sequence[str], log: Path) -> tuple[Summary, Manifest]:
    """Partition what `users` logged into `log` and write their tallies: (what they add up to, the import)."""
    imported = partition.partition(config.import_, ledger.bundle(job.folder, users), log, "import.input")
    warn(imported, log)
    summary = Summary(ledger.tallies(job.folder, users))
    rows = "".join(json.dumps(asdict(tally)) + "\n" for tally in summary.tallies)
    (job.folder / "tallies.jsonl").write_text(rows, encoding="utf-8")
    return summary, imported


def serving_engine() -> str:
    """Name and version of what answers in a service that is started here."""
    from jobs.report_inputs import engines_here

    return engines_here()["serving"]


def _cpus(answering: Answering, arms: int) -> int:
    """Cores that the service started here needs: its gateway, and every engine without a GPU."""
    if answering.serve is None:
        return 0
    return 1 + (0 if has_gpu() else answering.serve.cpus * arms)
