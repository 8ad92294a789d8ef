"""The one entry: what a record of the data contract becomes before a writer sees it, if anything.

In order: the level that applies (`levels`), the path (`paths`), secrets (`redact`), names (`pseudonyms`).
Everything that is done is counted by `Reason`, so that what the log lacks can be explained. Only fields of
the contract pass; each that a client can fill is cleaned: names, the program's own description, the language.

Events carry no path, so those of requests that were not logged are known by the ids of the last
`REMEMBERED` such requests of this collector. Not covered: such events that reach another replica, or come
later; they are stored and name a request that is in no log.
"""

import re
from collections import Counter, OrderedDict
from enum import StrEnum
from functools import lru_cache
from typing import Any

from echo_ray import schema
from echo_ray.privacy import partial
from echo_ray.privacy.config import PrivacyConfig
from echo_ray.privacy.levels import Level, level
from echo_ray.privacy.paths import Exclusions, normalised
from echo_ray.privacy.pseudonyms import Pseudonyms
from echo_ray.privacy.redact import Redactor

REMEMBERED = 20_000
"""Requests that were not logged whose events are recognised."""


class Reason(StrEnum):
    """What was done with a record; one record may have several."""

    KEPT = "kept"
    """Handed on, in whatever form."""
    LEVEL_OFF = "level_off"
    """Not stored: level `off`."""
    LEVEL_METRICS = "level_metrics"
    """Not stored: level `metrics`."""
    LEVEL_NO_CODE = "level_no_code"
    """Stored without text: level `no_code`."""
    EXCLUDED_PATH = "excluded_path"
    """Not stored: the file is excluded."""
    EVENT_OF_UNLOGGED = "event_of_unlogged"
    """Event not stored: its request was not."""
    IN_SECRET = "in_secret"  # noqa: S105 - a reason
    """Stored without text: the cursor stood in what is or may become a secret."""
    REDACTED = "redacted"
    """Stored with placeholders."""
    NOT_OF_CONTRACT = "not_of_contract"
    """A field outside the contract was left out."""


_REQUEST_FIELDS = frozenset((*schema.REQUEST.names, "record"))
_EVENT_FIELDS = frozenset((*schema.EVENT.names, "record", "schema"))
_ID = re.compile(r"[A-Za-z0-9][\w.:-]{0,127}")
_OURS = re.compile(r"(?:chat)?(?:cmpl-)?(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_LANGUAGE = re.compile(r"(?!(?:.*\d){5})[A-Za-z0-9+#._ -]{1,32}")
"""No language has five digits in its name; a token that is too random for the detectors has."""
_PATH = re.compile(r"(?:file:|~|[A-Za-z]:)?[\\/]\S*|\S+@\S+")
_CLIENT_CHARS, _CLIENTS, _LANGUAGES = 200, 1_024, 1_024


class Collector:
    """Applies `config` to records, one at a time; keyed with `key` (`pseudonyms.load_key`).

    One thread at a time: it keeps what it found in lines, and which requests it left out.
    """

    def __init__(self, config: PrivacyConfig, key: bytes) -> None:
        self._config = config
        self._names = Pseudonyms(key)
        self._redactor = Redactor(key, config.personal) if config.redact else None
        self._exclusions = Exclusions(config.exclude)
        self._shown = lru_cache(_CLIENTS)(self._client)
        self._named = lru_cache(_LANGUAGES)(self._language)
        self._unlogged: OrderedDict[str, None] = OrderedDict()
        self.counts: Counter[str] = Counter()
        """What was done, by `Reason`; `redacted.<kind>` counts placeholders by kind."""

    def pseudonym(self, user: str) -> str:
        """What the log calls `user`, for experiments, traces and `erase` to say the same."""
        return self._names.user(user) if self._config.pseudonyms else self._plain(user)

    def level(self, tenant: str | None, user: str, repository: str | None, path: str | None = None) -> Level:
        """What applies to a request of `user` in the file at `path`; `off` for an excluded one."""
        if self._exclusions.excluded(path):
            return Level.OFF
        return level(self._config, tenant, user, repository, self._names.user(user))

    def record(
        self,
        record: dict[str, Any],
        tenant: str | None = None,
        path: str | None = None,
        repository: str | None = None,
    ) -> dict[str, Any] | None:
        """The record as it may be stored, a new one; None when it may not. The given one stays as it is.

        `record` is what `serve.records` makes, with names as the client sent them. `path` is the file's
        path where the client tells it; a record's `file` counts as one too.
        """
        is_event = record.get("record") == "event"
        request_id = str(record["request_id"])
        if is_event and request_id in self._unlogged:
            self.counts[Reason.EVENT_OF_UNLOGGED] += 1
            return None
        applies = level(
            self._config, tenant, record["user"], repository, self._names.user(str(record["user"]))
        )
        if applies is Level.OFF or applies is Level.METRICS:
            if not is_event:
                self._forget(request_id)
            self.counts[Reason.LEVEL_OFF if applies is Level.OFF else Reason.LEVEL_METRICS] += 1
            return None
        if is_event:
            return self._event(record)
        if self._exclusions.excluded(path) or self._exclusions.excluded(record["file"]):
            self._forget(request_id)
            self.counts[Reason.EXCLUDED_PATH] += 1
            return None
        return self._request(record, applies, path or str(record["file"]), repository)

    def _request(
        self, record: dict[str, Any], applies: Level, path: str, repository: str | None
    ) -> dict[str, Any]:
        made = self._known(record, _REQUEST_FIELDS)
        told = made.get("language")
        made["language"] = language = self._named(told if isinstance(told, str) else "")
        if applies is Level.NO_CODE:
            self.counts[Reason.LEVEL_NO_CODE] += 1
            self._empty(made, record)
        elif self._redactor is not None:
            found = self._redactor.request(
                made["prefix"],
                made["suffix"],
                made.get("proposal"),
                partial.is_plain(language, path),
                made.get("prefix_complete") is not False,
                made.get("suffix_complete") is not False,
            )
            if found.withheld:
                self.counts[Reason.IN_SECRET] += 1
                self._empty(made, record)
            else:
                made |= {
                    "prefix": found.prefix,
                    "suffix": found.suffix,
                    "proposal": found.proposal,
                    "prefix_complete": found.prefix_complete,
                    "suffix_complete": found.suffix_complete,
                }
                self.counts[Reason.REDACTED] += bool(found.counts)
                for kind, count in found.counts.items():
                    self.counts[f"{Reason.REDACTED}.{kind}"] += count
        made["user"] = self.pseudonym(str(record["user"]))
        made["file"] = self._file(str(record["file"]), repository or "")
        if made["session"] is record["session"]:
            session = str(record["session"])
            made["session"] = (
                self._names.session(session) if self._config.pseudonyms else self._plain(session)
            )
        client = made.get("client")
        made["client"] = self._shown(client) if isinstance(client, str) else None
        made["request_id"] = self._id(str(record["request_id"]))
        self.counts[Reason.KEPT] += 1
        return made

    def _empty(self, made: dict[str, Any], record: dict[str, Any]) -> None:
        """Take the text out; a session of its own keeps the request out of the timeline (see `levels`)."""
        made |= {"prefix": "", "suffix": "", "proposal": None}
        made |= {"prefix_complete": False, "suffix_complete": False}
        made["session"] = self._names.session(str(record["session"]), str(record["request_id"]))

    def _event(self, record: dict[str, Any]) -> dict[str, Any]:
        made = self._known(record, _EVENT_FIELDS)
        made["user"] = self.pseudonym(str(record["user"]))
        made["request_id"] = self._id(str(record["request_id"]))
        self.counts[Reason.KEPT] += 1
        return made

    def _known(self, record: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
        made = {name: value for name, value in record.items() if name in names}
        if len(made) < len(record):
            self.counts[Reason.NOT_OF_CONTRACT] += len(record) - len(made)
        return made

    def _forget(self, request_id: str) -> None:
        self._unlogged[request_id] = None
        if len(self._unlogged) > REMEMBERED:
            self._unlogged.popitem(last=False)

    def _id(self, request_id: str) -> str:
        # An id of another form is none of ours and may be anything.
        if _OURS.fullmatch(request_id):
            return request_id
        if _ID.fullmatch(request_id) and self._plain(request_id) == request_id:
            return request_id
        return self._names.request(request_id)

    def _file(self, path: str, repository: str) -> str:
        if self._config.pseudonyms:
            return self._names.file(normalised(path), repository)
        return self._plain(path)

    def _plain(self, name: str) -> str:
        return self._redactor.text(name) if self._redactor is not None else name

    def _language(self, language: str) -> str:
        if _LANGUAGE.fullmatch(language) and self._plain(language) == language:
            return language
        return str(schema.REQUEST_DEFAULTS["language"])

    def _client(self, client: str) -> str | None:
        """A user agent without paths, addresses and what else has no place in one."""
        shown = " ".join(client.split())[:_CLIENT_CHARS]
        kept = (word for word in shown.split(" ") if not _PATH.fullmatch(word.strip("();,")))
        return self._plain(" ".join(kept)) or None
