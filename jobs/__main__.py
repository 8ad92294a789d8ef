"""The command line: `echo-ray VERB [CONFIG.yaml] [section.key=value ...]`, also `python -m jobs`."""

import difflib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from echo_ray import __version__, config
from echo_ray.errors import ConfigError, EchoError


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: where its function lives (`module:function`), what it reads, what it does."""

    target: str
    sections: tuple[str, ...]
    about: str
    words: tuple[str, ...] = ()
    """Settings that plain words after the verb give, in order, where they are not a configuration file."""
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Settings that the words after the first of `words` give, by what that one is."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Settings that may also be written `--name VALUE`."""
    settings: str = ""
    """`module:class` of the verb's own settings, where importing all sections takes too long."""
    silent: tuple[str, ...] = ()
    """Options that other programs give to every command of its kind, and that change nothing."""


VERBS = {
    "demo": Verb("jobs.loop:demo", ("run",), "the whole loop on this machine, with configs/demo.yaml"),
    "loop": Verb(
        "jobs.loop:loop",
        (
            *(
                "run",
                "cluster",
                "simulate",
                "serve",
                "import",
                "mine",
                "distil",
                "teacher",
                "verify",
                "judge",
            ),
            *("select", "perplexity", "balance", "card", "pack", "train", "experiment"),
        ),
        "simulate, mine, distil, verify, select, perplexity, balance, train, experiment, report",
    ),
    "serve": Verb("jobs.serve:serve", ("serve", "cluster"), "answer completion requests and log them"),
    "lsp": Verb(
        "jobs.lsp:lsp",
        ("lsp",),
        "a language server: completions in any editor that speaks LSP, and what became of them",
        settings="jobs.lsp:LspSettings",
        silent=("--stdio",),
    ),
    "simulate": Verb("jobs.simulate:simulate", ("simulate", "serve", "cluster"), "let developers work"),
    "import": Verb("jobs.stages:import_", ("import", "cluster"), "any log to session-partitioned Parquet"),
    "mine": Verb("jobs.stages:mine", ("mine", "cluster"), "log to samples: what was left in each gap"),
    "distil": Verb(
        "jobs.stages:distil", ("distil", "teacher", "cluster"), "cut what was left to the next intent"
    ),
    "verify": Verb(
        "jobs.stages:verify", ("verify", "judge", "cluster"), "refuse broken, unsafe and void conflicts"
    ),
    "select": Verb(
        "jobs.stages:select", ("select", "cluster"), "duplicates, loud users, users never learned"
    ),
    "perplexity": Verb(
        "jobs.stages:perplexity",
        ("perplexity", "pack", "train", "cluster"),
        "how much each target surprises the current model",
    ),
    "balance": Verb(
        "jobs.stages:balance", ("balance", "card", "cluster"), "weigh silence, lengths and surprise"
    ),
    "search": Verb(
        "jobs.stages:search",
        ("search", "balance", "pack", "train", "cluster"),
        "try mixtures of `balance` against an offline metric",
    ),
    "card": Verb("jobs.card:card", ("card",), "one page about a data set"),
    "explain": Verb(
        "jobs.explain:explain",
        ("explain", "run"),
        "the life of a request: explain REQUEST_ID; without one the accounts of a run",
        words=("explain.request_id",),
    ),
    "erase": Verb(
        "jobs.erase:erase",
        ("erase", "run", "models"),
        "remove a person from logs and data sets: erase --user U",
        options={"user": "erase.user"},
    ),
    "export": Verb(
        "jobs.export:export", ("export", "pack"), "training files for TRL, axolotl and LLaMA-Factory"
    ),
    "pack": Verb("jobs.stages:pack", ("pack", "cluster"), "samples to token ids"),
    "train": Verb("jobs.stages:train", ("train", "cluster"), "fine-tune with DeepSpeed under Ray Train"),
    "evaluate": Verb(
        "jobs.evaluate:run",
        ("evaluate", "pack", "cluster"),
        "models side by side on held-out gaps: text metrics per language, with intervals",
    ),
    "models": Verb(
        "jobs.models:run",
        ("models",),
        "the model registry: list, show, promote, roll back",
        words=("models.action",),
        after={
            "list": (),
            "show": ("models.version",),
            "add": ("models.folder",),
            "promote": ("models.version", "models.alias"),
            "rollback": ("models.alias",),
            "unset": ("models.alias",),
            "attach": ("models.version", "models.figures"),
            "verify": ("models.version",),
            "remove": ("models.version",),
        },
    ),
    "keys": Verb(
        "jobs.keys:run",
        ("keys",),
        "API keys of the service: list, add, revoke",
        words=("keys.action",),
        after={"list": (), "add": ("keys.name", "keys.tenant"), "revoke": ("keys.name",)},
    ),
    "arms": Verb(
        "jobs.arms:run",
        ("arms",),
        "what a running service serves to whom: show, set, on, off",
        words=("arms.action",),
        after={"show": (), "set": (), "on": (), "off": ()},
    ),
    "rollout": Verb(
        "jobs.rollout:run",
        ("rollout", "experiment", "import", "cluster"),
        "a new version for some users of a running service: start, watch, promote, rollback, status",
        words=("rollout.action",),
        after={"status": (), "start": (), "watch": (), "promote": (), "rollback": ()},
    ),
    "doctor": Verb(
        "jobs.doctor:run",
        ("doctor", "serve", "cluster"),
        "what is wrong with this machine or a running service, and what to do about it",
    ),
    "experiment": Verb(
        "jobs.experiment:experiment",
        ("experiment", "simulate", "serve", "import", "cluster"),
        "two models on the same simulated developers, or two arms of a served log, and the difference",
    ),
    "replay": Verb(
        "jobs.replay:replay",
        ("replay", "evaluate", "serve", "pack", "import", "cluster"),
        "predict the acceptance of candidates from a log, beside what an experiment measured",
    ),
    "study": Verb(
        "jobs.study:study",
        (
            *("study", "cluster", "simulate", "serve", "import", "mine", "distil", "teacher", "verify"),
            *("judge", "select", "perplexity", "balance", "pack", "train", "evaluate", "experiment"),
        ),
        "a figure of the paper in miniature: arms, seeds and developers, from the log to one page",
    ),
    "calibrate": Verb(
        "jobs.calibrate:calibrate",
        ("calibrate", "simulate", "serve", "cluster"),
        "fit the acceptance policy's one shift on a baseline, and freeze it",
    ),
    "bounds": Verb(
        "jobs.bounds:bounds",
        ("bounds", "simulate", "serve", "cluster"),
        "the baseline among oracles and engines that only look good",
    ),
    "validity": Verb(
        "jobs.validity:validity",
        ("validity",),
        "simulated developers against published figures, with reasons",
    ),
    "compare": Verb(
        "jobs.compare:compare",
        ("compare", "mine", "import", "cluster"),
        "mining policies side by side, against recorded edits or a simulator's truth",
    ),
    "pretrain": Verb("jobs.stages:pretrain", ("pretrain",), "make the small base model"),
}

USAGE = "usage: echo-ray VERB [CONFIG.yaml] [section.key=value ...]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 `doctor` found something wrong, 2 a user's error in
    one sentence, 130 interrupted, 141 nobody reads what is printed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except EchoError as error:
        sys.stderr.write(f"echo-ray: {error}\n")
        return 2
    except BrokenPipeError:
        # The reader (`| head`) has gone; Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        sys.stderr.write("\necho-ray: interrupted; the same command goes on where it stopped\n")
        return 130


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        print(f"echo-ray {__version__}")
        return 0
    name, *rest = words
    verb = VERBS.get(name)
    if verb is None:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; verbs are {', '.join(VERBS)}"
        raise ConfigError(f"unknown verb {name!r}{hint}")
    if any(word in ("-h", "--help") for word in rest):
        print(manual(name, verb))
        return 0
    rest, given = named(verb, [word for word in rest if word not in verb.silent])
    path, overrides = split(rest)
    if name == "demo" and path is None:
        path = demo_file()
    settings = _own_settings(verb, path, overrides) or _all_settings(verb, path, overrides, given)
    command = " ".join(["echo-ray", *words])
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    module, function = verb.target.split(":")
    return getattr(importlib.import_module(module), function)(settings, command) or 0


def _own_settings(verb: Verb, path: Path | None, overrides: Sequence[str]) -> config.Config | None:
    """The settings of a verb that has its own class; None where they hold more than that, or a mistake."""
    if not verb.settings:
        return None
    module, name = verb.settings.split(":")
    kind: type[config.Config] = getattr(importlib.import_module(module), name)
    try:
        return config.load(kind, path, overrides)
    except ConfigError:
        return None


def _all_settings(
    verb: Verb, path: Path | None, overrides: Sequence[str], given: Mapping[str, str]
) -> config.Config:
    from jobs.references import resolved
    from jobs.settings import RunConfig

    return resolved(config.load(RunConfig, path, overrides, given), verb.sections)


def named(verb: Verb, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(the other words, settings) where `verb` takes a plain word or `--name VALUE`, as they were written."""
    left, given, plain = [], {}, []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if name.removeprefix("--") in verb.options and name.startswith("--"):
            if not equals and not queue:
                raise ConfigError(f"{name} needs a value: {name} VALUE")
            given[verb.options[name.removeprefix("--")]] = value if equals else queue.pop(0)
        elif verb.words and not equals and not word.startswith("-") and not word.endswith((".yaml", ".yml")):
            plain.append(word)
        else:
            left.append(word)
    return left, given | dict(zip(_settings(verb, plain), plain, strict=False))


def _settings(verb: Verb, plain: Sequence[str]) -> tuple[str, ...]:
    """The settings that plain words give. Raises ConfigError for words that `verb` does not take."""
    if plain and verb.after and plain[0] not in verb.after:
        near = difflib.get_close_matches(plain[0], verb.after, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{verb.words[0]}={plain[0]} is not one of {', '.join(verb.after)}{hint}")
    places = verb.words + (verb.after.get(plain[0], ()) if plain else ())
    if len(plain) > len(places) == 1 and not verb.after:
        raise ConfigError(f"two of {places[0]}, {plain[0]} and {plain[1]}; name one")
    if len(plain) > len(places):
        taken = " ".join(place.split(".")[-1].upper() for place in places[1:]) or "no further word"
        raise ConfigError(f"{plain[len(places)]!r} is one word too many: {plain[0]} takes {taken}")
    return places


def split(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """(configuration file, overrides) from the words after the verb; ConfigError for anything else."""
    path: Path | None = None
    overrides = []
    for word in words:
        if "=" in word and not word.startswith("-"):
            overrides.append(word)
        elif word.startswith("-"):
            raise ConfigError(f"unknown option {word}; settings are written section.key=value")
        elif path is None:
            path = Path(word)
        else:
            raise ConfigError(f"two configuration files, {path} and {word}; name one")
    return path, overrides


def demo_file() -> Path:
    """The demo's settings in this checkout."""
    return Path(__file__).resolve().parent.parent / "configs" / "demo.yaml"


def overview() -> str:
    """What `echo-ray --help` prints."""
    width = max(len(name) for name in VERBS)
    lines = [f"  {name:<{width}}  {verb.about}" for name, verb in VERBS.items()]
    return "\n".join([USAGE, "", *lines, "", "echo-ray VERB --help lists every setting of a verb."])


def manual(name: str, verb: Verb) -> str:
    """Every setting that `verb` reads, with default and description."""
    from jobs.settings import RunConfig

    words = "".join(f" [{word.split('.')[-1].upper()}{' ...' * bool(verb.after)}]" for word in verb.words)
    lines = [f"usage: echo-ray {name}{words} [CONFIG.yaml] [section.key=value ...]", "", verb.about, ""]
    for key, kind, default, text in config.fields(RunConfig):
        if key.split(".")[0] in verb.sections:
            shown = "none" if default is None else str(default)
            lines += [
                f"  {key} = {shown}  ({kind})",
                *(f"      {line.strip()}" for line in text.splitlines()),
            ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
