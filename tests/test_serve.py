"""The serving part without Ray: arms, policy, model folders, dialect, identity, settings."""

import math
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import models
from echo_ray.config import build, fields
from echo_ray.dialects.asked import Asked
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.privacy.config import PrivacyConfig
from echo_ray.prompts import FastTokenizer, template_for
from echo_ray.schema import REQUEST
from echo_ray.serve import launch, policy, preflight, records
from echo_ray.serve.arms import assign
from echo_ray.serve.config import Arm, ServeConfig
from echo_ray.serve.engine import EngineSettings, environment, llm_config
from echo_ray.serve.who import NOBODY, Caller, identity, routed
from tests import tiny

USERS = [f"user-{number}" for number in range(4000)]


# arms


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("ab cd", [(0, math.log(0.5)), (2, math.log(0.125))], 0.25),
        ("\nab\ncd", [(0, 0.0), (1, math.log(0.25)), (3, 0.0), (4, -9.0)], 0.25 ** (1 / 3)),
        ("ab", [], 1.0),
    ],
)
def test_confidence_is_that_of_the_first_line(text, tokens, expected):
    assert pytest.approx(expected) == policy.confidence(text, tokens)


def test_arms_are_sticky_and_follow_their_weights():
    weights = {"control": 3.0, "treatment": 1.0}
    first = {user: assign(user, weights, "s") for user in USERS}
    assert first == {user: assign(user, weights, "s") for user in reversed(USERS)}
    share = sum(arm == "treatment" for arm in first.values()) / len(USERS)
    assert abs(share - 0.25) < 0.03


def test_arms_ignore_scale_and_order_of_weights():
    for user in USERS[:500]:
        arm = assign(user, {"a": 1, "b": 2}, "s")
        assert arm == assign(user, {"b": 20, "a": 10}, "s")


def test_changed_weights_move_only_users_between_the_boundaries():
    before = {user: assign(user, {"a": 9, "b": 1}) for user in USERS}
    after = {user: assign(user, {"a": 8, "b": 2}) for user in USERS}
    moved = [user for user in USERS if before[user] != after[user]]
    assert {before[user] for user in moved} == {"a"}
    assert abs(len(moved) / len(USERS) - 0.1) < 0.02


def test_another_salt_draws_anew():
    same = sum(assign(user, {"a": 1, "b": 1}, "1") == assign(user, {"a": 1, "b": 1}, "2") for user in USERS)
    assert abs(same / len(USERS) - 0.5) < 0.04


def test_one_arm_takes_everybody_and_no_arms_are_an_error():
    assert assign("anyone", {"base": 0.1}) == "base"
    with pytest.raises(ValueError, match="no arms"):
        assign("anyone", {})


# policy


@pytest.mark.parametrize(
    ("raw", "prefix", "suffix", "expected"),
    [
        ("a + b", "return ", "\n", "a + b"),
        ("a + b\n\n  ", "return ", "\n", "a + b"),
        ("   \n", "", "\n", ""),
        ("", "", "x", ""),
        ("import os\n", "", "import sys\n", "import os\n"),  # code follows on the line: the newline matters
        (" \n", "", "import sys\n", ""),
        ("a<|endoftext|>b", "", "", "a"),
        ("a<\uff5cfim\u2581end\uff5c>", "", "", "a"),
        ("x)", "f(", ")\n", "x"),  # the bracket is there already
        ("len(x)", "print(", ")\n", "len(x)"),  # this one is the proposal's own
        ("x)", "f(g(", ")\n", "x)"),  # one of the two is missing
        ("x))", "f(g(", "))\n", "x"),
        ("\n    y\n}", "if x {", "\n}\n", "\n    y"),
        ("{\n    y\n}", "class X {\nif x ", "\n}\n", "{\n    y\n}"),
        ("a, b, c", "f(", ", c)", "a, b"),
        ("main", "def ", "int y", "main"),  # "in" repeats only inside words
        ("value = item\nreturn value", "    ", "\nreturn value\n", "value = item"),
        ("x", "y = ", "x\n", "x"),  # one letter repeats by chance
    ],
)
def test_policy_cases(raw, prefix, suffix, expected):
    assert policy.proposal(raw, prefix, suffix) == expected


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("a = 1\nb = 2\nc =", "a = 1\nb = 2"),
        ("a = compute(first, sec", "a = compute(first, sec"),
        ("\n    a = comp", "\n    a = comp"),
        ("a = 1<|endoftext|>b\nc", "a = 1"),
    ],
)
def test_a_line_that_the_token_limit_cut_goes_when_others_stand(raw, kept):
    assert kept == policy.proposal(raw, "", "", (), finished=False)
    assert policy.proposal(raw, "", "") == policy.proposal(raw, "", "", (), finished=True)


def test_policy_stops_at_the_clients_stop_string():
    assert policy.proposal("one\n\ntwo", "", "", ["\n\n", ""]) == "one"


SNIPPETS = st.text(alphabet="ab1_ \n()[]{},.", max_size=12)


@given(raw=SNIPPETS, prefix=SNIPPETS, suffix=SNIPPETS)
def test_policy_only_ever_cuts_the_end(raw, prefix, suffix):
    text = policy.proposal(raw, prefix, suffix)
    assert raw.startswith(text)
    assert text == "" or text.strip()
    size = policy.overlap(raw, prefix, suffix)
    assert 0 <= size <= len(raw)
    assert size == 0 or suffix.startswith(raw[len(raw) - size :].rstrip())


WORDS = st.text(alphabet="ab1_ ,.", max_size=12)


@given(text=WORDS, prefix=SNIPPETS)
def test_policy_never_cuts_a_line_without_a_suffix(text, prefix):
    assert policy.proposal(text, prefix, "") == text.rstrip()


@given(raw=WORDS, tail=st.sampled_from(policy.SENTINELS), rest=SNIPPETS)
def test_no_sentinel_survives(raw, tail, rest):
    assert policy.proposal(raw + tail + rest, "", "") == raw.rstrip()


# model folders


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copy(model, tmp_path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "copy"))


def test_a_good_model_folder_passes(model):
    assert models.check(model).name == "echo"
    assert models.context_limit(model) == 1024


def test_the_quick_check_and_the_tokenizer_agree(model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    assert models.check(model) == template_for(tokenizer)
    text = "def f(x):\n    return 'é'"
    assert FastTokenizer(model).encode(text) == tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "safetensors"),
        ("tokenizer.json", "tokenizer.json"),
    ],
)
def test_a_folder_without_a_part_is_refused(copy, missing, said):
    (copy / missing).unlink()
    with pytest.raises(SchemaError, match=said) as error:
        models.check(copy, "serve.arms.new.model")
    assert "change serve.arms.new.model" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"does not exist: change serve\.model"):
        models.check(tmp_path / "none")


def test_broken_files_are_refused(copy):
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(SchemaError, match=r"tokenizer\.json cannot be read"):
        models.check(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(SchemaError, match="not valid JSON"):
        models.check(copy)
    (copy / "config.json").write_text("{}")
    with pytest.raises(SchemaError, match="architectures"):
        models.check(copy)


def test_a_tokenizer_without_sentinels_is_refused(copy):
    tiny.write_tokenizer(copy, sentinels=("<|endoftext|>",))
    with pytest.raises(SchemaError, match=r"fill-in-the-middle.*change serve\.model"):
        models.check(copy)


def test_the_version_is_the_content(model, copy, tmp_path):
    same = shutil.copytree(model, tmp_path / "other" / model.name)
    assert models.version(model) == models.version(Path(same))
    assert models.version(copy).split("-")[-1] == models.version(model).split("-")[-1]
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert models.version(copy).split("-")[-1] != models.version(model).split("-")[-1]
    assert models.version(model).isascii()


# launch, before Ray


def test_a_busy_port_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} is busy.*change serve\.port"):
            launch.start(ServeConfig(port=port))
    preflight.check_port("127.0.0.1", port)


def test_engines_that_find_no_slot_are_refused():
    preflight.check_room(ServeConfig(replicas=3), 1, 8)
    told = r"serve\.replicas=2 for 2 model\(s\) wants 9 CPU slots, .* has 8: set cluster\.logical_cpus=9"
    with pytest.raises(ConfigError, match=told):
        preflight.check_room(ServeConfig(replicas=2), 2, 8)


@pytest.mark.parametrize(("gpus", "share"), [(0, 0), (1, 1 / 7), (2, 1 / 4), (8, 1)])
def test_engines_share_the_gpus_as_many_as_there_may_be(gpus, share):
    config = ServeConfig(replicas=2, max_replicas=3, spare_engines=1)
    resolved = {"a": (models.BASE, "v1"), "b": (models.BASE, "v2"), "c": (models.BASE, "v2")}
    found = preflight.engine_settings(config, resolved, gpus)
    assert [("v1", 2, 3, share), ("v2", 2, 3, share)] == [
        (one.version, one.replicas, one.max_replicas, one.gpu) for one in found
    ]


def test_arms_resolve_to_versions(model, copy):
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    config = ServeConfig(model=model, arms={"a": Arm(), "b": Arm(model=copy, weight=3)})
    resolved = preflight.resolve(config)
    assert resolved["a"] == (model, models.version(model))
    assert resolved["b"] == (copy, models.version(copy))
    assert list(preflight.resolve(ServeConfig(model=model))) == ["base"]
    with pytest.raises(ConfigError, match=r"serve\.arms\.b\.model"):
        preflight.resolve(config.updated(arms={"b": Arm(model=Path("/none"))}))
    with pytest.raises(ConfigError, match=r"k\.yaml"):
        preflight.resolve(config.updated(keys_file=Path("/nowhere/k.yaml")))
    open_key = copy / "open.key"
    open_key.write_text("0" * 64)
    open_key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        preflight.resolve(config.updated(privacy=PrivacyConfig(key_file=open_key)))
    with pytest.raises(ConfigError, match=r"lower serve\.context_tokens"):
        preflight.resolve(config.updated(context_tokens=2000))


@pytest.mark.parametrize(
    ("gpus", "gpu", "share"), [(0, 0.0, 0.0), (1, 0.5, 0.45), (2, 1.0, 0.9), (8, 1.0, 0.9)]
)
def test_arms_share_gpus(gpus, gpu, share):
    resolved = {"a": (Path("/a"), "a-1"), "b": (Path("/b"), "b-1")}
    settings = preflight.engine_settings(ServeConfig(), resolved, gpus)
    assert [(item.gpu, item.gpu_memory_share) for item in settings] == [(gpu, share)] * 2
    plain = llm_config(settings[0])
    assert ("enforce_eager" in plain["engine_kwargs"]) is (gpus == 0)
    assert ("OMP_NUM_THREADS" in environment(settings[0])) is (gpus == 0)


def test_an_engine_guesses_ahead_only_when_told_to():
    for tokens in (0, 5):
        [settings] = preflight.engine_settings(
            ServeConfig(speculative_tokens=tokens), {"a": (Path("/a"), "a-1")}, 0
        )
        guess = llm_config(settings)["engine_kwargs"].get("speculative_config", {})
        assert guess.get("num_speculative_tokens", 0) == tokens


def test_every_setting_has_a_docstring_and_round_trips():
    assert all(text for _, _, _, text in fields(ServeConfig))
    assert all(field.description for field in EngineSettings.model_fields.values())
    tree = {"arms": {"new": {"model": "/m", "weight": 2}}}
    assert build(ServeConfig, tree).arms["new"].weight == 2
    with pytest.raises(ConfigError, match="weight"):
        build(ServeConfig, {"arms": {"new": {"weight": 0}}})


# identity and records

DAY_MS = 1_700_000_000_000


def known(headers=None, query=None, asked=NOBODY, caller=None, peer="1.2.3.4"):
    return identity(headers or {}, query or {}, asked, caller or Caller(), peer, DAY_MS)


def test_identity_from_headers():
    headers = {
        "x-echo-user": "u",
        "x-echo-session": "s",
        "x-echo-file": "f%C3%BC.py",
        "x-echo-language": "go",
    }
    who = known(headers, {"user": "query"}, Asked("", "", user="body"))
    assert ("u", "s", "f\u00fc.py", "go", None) == (who.user, who.session, who.file, who.language, who.client)


def test_identity_from_the_address_then_the_body_then_the_key():
    asked = Asked("", "", user="body", session="t", file="a.py", language="python", prefix_complete=False)
    assert "query" == known({}, {"user": "query"}, asked).user
    who = known({}, {}, asked, Caller("key"))
    assert ("body", "t", "a.py", "python", False) == (
        *(who.user, who.session, who.file, who.language, who.prefix_complete),
    )
    assert "key-mine" == known(caller=Caller("mine", "tenant")).user
    assert "tenant" == known(caller=Caller("mine", "tenant")).tenant


def test_identity_fallbacks():
    bearer = known({"authorization": "Bearer sk-secret"})
    assert bearer.user.startswith("token-")
    assert "secret" not in str(bearer)
    assert bearer == known({"authorization": "bearer sk-secret"}, peer="5.6.7.8")
    peer = known({"user-agent": "vim"})
    assert peer.user.startswith("peer-")
    assert "1.2.3.4" not in str(peer)
    assert f"{peer.user}@2023-11-14" == peer.session
    assert ("unknown", "plaintext", "vim") == (peer.file, peer.language, peer.client)


@pytest.mark.parametrize(
    ("path", "rest", "named"),
    [
        ("/v1/completions", "/v1/completions", {}),
        ("/u/ann/s/one/infill", "/infill", {"user": "ann", "session": "one"}),
        ("/u/a%20b/v1/models", "/v1/models", {"user": "a b"}),
        ("/s/x/health", "/health", {"session": "x"}),
        ("/u/ann", "/u/ann", {}),
        ("/", "/", {}),
    ],
)
def test_the_address_may_begin_with_a_user_and_a_session(path, rest, named):
    assert (rest, named) == routed(path)


def logged(who):
    return records.request_record(
        who, request_id="r", ts_ms=1, prefix="p", suffix="s", delivered=False, proposal=None,
        model="m", arm="a", latency_ms=None,
    ).record  # fmt: skip


def test_a_request_record_is_exactly_the_schema():
    record = logged(known())
    assert record.pop("record") == "request"
    assert set(record) == set(REQUEST.names)


@pytest.mark.parametrize("side", ["prefix", "suffix"])
def test_a_window_that_was_cut_is_logged_as_cut(side):
    other = {"prefix": "suffix", "suffix": "prefix"}[side]
    record = logged(known({f"x-echo-{side}-complete": "false", f"x-echo-{other}-complete": "true"}))
    assert (False, True) == (record[f"{side}_complete"], record[f"{other}_complete"])
    unknown = logged(known())
    assert (False, False) == (unknown[f"{side}_complete"], unknown[f"{other}_complete"])
    told = logged(known(asked=Asked("", "", prefix_complete=True, suffix_complete=True)))
    assert (True, True) == (told[f"{side}_complete"], told[f"{other}_complete"])
