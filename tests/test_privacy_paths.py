"""Excluded files, the key file, the settings and the notice."""

import os
import re
import stat
import threading
from pathlib import Path

import pytest

from echo_ray.config import build, fields
from echo_ray.errors import ConfigError
from echo_ray.privacy.config import PrivacyConfig
from echo_ray.privacy.notice import notice
from echo_ray.privacy.paths import Exclusions, normalised
from echo_ray.privacy.pseudonyms import Pseudonyms, key_path, load_key

EXCLUDED = re.findall(
    r"\S+",
    r"""
.env  .env.local  a/.ENV  a/.env.production  prod.env  server.pem  tls/private.KEY  id_rsa  a/id_ed25519.pub
cert.p12  cert.pfx  store.jks  vault.kdbx  /home/a/.ssh/config  .ssh/known_hosts  C:\Users\a\.ssh\id_rsa
C:\Users\a\.aws\credentials  ~/.aws/credentials  .npmrc  a/.pypirc  .netrc  C:\Users\a\_netrc
app-secrets.yaml  k8s/my_secret.json  Credentials.json  config/credentials.properties  terraform.tfstate
prod.tfstate.backup  prod.tfvars  .git/config  a/.git/HEAD  \\server\share\.env  file:///home/a/.env
file:///c%3A/Users/a/proj/.env  FILE:///C:/a/server.PEM  vscode-remote://ssh-remote+host/home/a/.env
file:///home/a/%2Eenv  a/./.env  a/b/../.env  .env.  service-account-prod.json  .docker/config.json
git:/home/a/.env  credentials  a\b\.kube\config  .gnupg/x  file:///home/a/.env?ref=1#L3
""",
)

KEPT = re.findall(
    r"\S+",
    r"""
main.py  src/environment.py  env.py  keys.py  key.ts  src/secrets.py  secrets/manager.py  credential_store.go
credentials/provider.ts  monkey.js  git/index.ts  pem.go  README.md  docs/ssh/readme.md  package.json  unknown
src/secret_rules.py  file:///home/a/src/app.py  C:\work\a.cs  untitled:Untitled-1  a.envoy.yaml  tsconfig.json
""",
)


@pytest.mark.parametrize("path", EXCLUDED)
def test_files_with_secrets_are_excluded(path: str) -> None:
    assert Exclusions().excluded(path), normalised(path)


@pytest.mark.parametrize("path", [*KEPT, "", None])
def test_ordinary_files_are_not(path: str | None) -> None:
    assert not Exclusions().excluded(path)


def test_own_patterns_are_those_of_gitignore_and_can_take_back() -> None:
    excluded = Exclusions(["Payroll/", "*.SQL", "!.env.example", "gen/**/*.ts"]).excluded
    assert [excluded(path) for path in ("x/payroll/a.py", "A.sql", "gen/a/b.ts", ".env")] == [True] * 4
    assert [excluded(path) for path in (".env.example", "payroll.py", "gen.ts")] == [False] * 3


def test_a_missing_key_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "log.key"
    key = load_key(path)
    assert 32 == len(key)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert key == load_key(path)
    assert [path] == list(path.parent.iterdir())
    assert path == key_path(None, tmp_path / "a" / "log")
    assert Path("k") == key_path(Path("k"), tmp_path)


def test_replicas_that_start_together_share_one_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(load_key(tmp_path / "key"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (8, 1) == (len(keys), len(set(keys)))


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("ab" * 32, 0o640, "mode 0640"),
        ("ab" * 32, 0o604, "mode 0604"),
        ("", 0o600, "at least 32"),
        ("abcd", 0o600, "at least 32"),
        ("not hexadecimal, though it is long enough", 0o600, "at least 32"),
        ("é" * 40, 0o600, "at least 32"),
    ],
)
def test_a_bad_key_file_is_refused_in_one_sentence(
    tmp_path: Path, content: str, mode: int, said: str
) -> None:
    path = tmp_path / "key"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        load_key(path)
    assert f"serve.privacy.key_file={path}" in str(caught.value)
    assert not content or content not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file" / "key"):
        with pytest.raises(ConfigError, match="cannot be used"):
            load_key(path)


def test_pseudonyms_have_domains_and_a_file_keeps_its_extension() -> None:
    names = Pseudonyms(b"k" * 32)
    same = [names.user("x"), names.session("x"), names.tenant("x"), names.file("x"), names.request("x")]
    assert len(set(same)) == len(same)
    assert all(re.fullmatch(r"[0-9a-f]{16}", name) for name in same)
    assert names.session("a", "bc") != names.session("ab", "c")
    assert names.file("a.py", "one") != names.file("a.py", "two")
    endings = {"src/a.py": ".py", "B.TSX": ".tsx", "Makefile": "", ".env": "", "a.b/c": "", "x.d.ts": ".ts",
               "a.secretvalue12345": "", "x.7z": ""}  # fmt: skip
    assert endings == {path: names.file(path)[16:] for path in endings}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"collect": "some"}, "collect"),
        ({"collect": True}, "collect"),
        ({"exclude": ["  "]}, "exclude"),
        ({"users": {"a": "none"}}, "users.a"),
        ({"retention_days": 0}, "retention_days"),
    ],
)
def test_bad_settings_are_one_sentence(tree: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        build(PrivacyConfig, tree)
    assert "\n" not in str(caught.value)


def test_off_in_yaml_is_off_and_every_setting_is_described() -> None:
    config = build(PrivacyConfig, {"collect": False, "users": {"anna": False}})
    assert ("off", {"anna": "off"}) == (config.collect, config.users)
    assert all(text for _, _, _, text in fields(PrivacyConfig))


def test_the_notice_says_where_how_long_and_how_to_stop() -> None:
    folder = Path("/var/echo/log")
    full = notice(PrivacyConfig(retention_days=30, users={"a": "off"}), folder)
    for part in (str(folder), "30 days", "serve.privacy.collect", "replaced", "keyed hashes", "1 user"):
        assert part in full
    assert "as they are" in notice(PrivacyConfig(redact=False), folder)
    assert "as clients send them" in notice(PrivacyConfig(pseudonyms=False), folder)
    assert "no code" in notice(PrivacyConfig(collect="no_code"), folder)
    for name in ("off", "metrics"):
        assert str(folder) not in notice(PrivacyConfig(collect=name), folder)
    assert os.linesep not in notice(PrivacyConfig(collect="off"), folder)
