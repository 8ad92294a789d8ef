"""How a user calls local variables: a vocabulary of synonyms, and a habit for all other names (section 3.2).

`renamed` is a pure function of the name, the joint (snake or camel case) and the user's key, so a name has
the same fate in every file, version and function. It looks at no context: whether the new name is free is
for the caller to find out.
Our choice [A]: the tables below, and the habits; no published figure says how developers rename. Names that
look like constants, types or private names (capital, leading or trailing underscore) stay.
Not covered: names in languages other than English; grammar (`users` may become `new_users`).
"""

import functools
import re
from enum import StrEnum

from echo_ray import rng


class Habit(StrEnum):
    """What happens to names that the table of synonyms does not have."""

    SHORT = "short"
    """Words are abbreviated, fillers left out."""
    LONG = "long"
    """Abbreviations are written out, some bare words qualified."""
    PLAIN = "plain"
    """They stay."""


SYNONYMS = tuple(
    tuple(line.split())
    for line in """
    result res ret out outcome
    value val v
    index idx i
    message msg
    response resp reply
    request req
    config cfg conf configuration
    error err exc
    e ex exception problem
    name label
    count num cnt number
    text txt content
    item elem entry element
    key k
    data payload raw
    file fh fp
    path filename fname
    directory folder
    current cur curr
    previous prev
    temp tmp scratch
    options opts
    params parameters
    context ctx
    query q
    url uri href
    object obj
    array arr values
    match m found
    callback cb fn
    parent owner
    child kid
    start begin
    end stop finish
    expected want wanted
    actual got received
    source src origin
    target dest dst
    line ln
    column col
    length size
    offset off position pos
    session sess
    connection conn
    client peer
    server srv
    event evt ev
    attribute attr
    logger log
    timestamp ts
    status state
    token tok
    field fld
    props properties
    iterator it
    instance inst
    description desc summary
    document doc
    image img
    button btn
    header hdr
    headers hdrs
    version ver
    command cmd
    process proc
    environment env
    address addr
    pointer ptr p
    buffer buf
    app application
    database db
    table tbl
    record rec
    group grp
    left lhs
    right rhs
    info details meta
    tests cases
    args arguments
    first head
    last tail
    format fmt
    """.strip().splitlines()
)
"""Words for the same thing; a user has a favourite of each line. A word's first line counts."""

_PAIRS: dict[str, str] = dict(
    re.findall(
        r"(\w+)=(\w+)",
        """
    message=msg value=val index=idx response=resp request=req config=cfg configuration=conf error=err
    number=num count=cnt element=elem directory=dir current=cur previous=prev temporary=tmp options=opts
    option=opt parameter=param parameters=params context=ctx object=obj array=arr callback=cb source=src
    destination=dst column=col character=chr session=sess connection=conn server=srv event=evt
    attribute=attr attributes=attrs timestamp=ts token=tok position=pos property=prop properties=props
    instance=inst description=desc document=doc image=img button=btn header=hdr version=ver command=cmd
    process=proc environment=env address=addr pointer=ptr buffer=buf application=app database=db
    record=rec group=grp length=len maximum=max minimum=min average=avg string=str integer=int function=func
    argument=arg arguments=args variable=var reference=ref expression=expr statement=stmt declaration=decl
    definition=defn identifier=ident information=info initial=init temp=tmp package=pkg library=lib
    module=mod manager=mgr message=msg original=orig password=pwd picture=pic point=pt quantity=qty
    received=recv repository=repo sequence=seq specification=spec standard=std synchronize=sync
    template=tmpl transaction=txn utility=util dictionary=dict iterator=iter network=net operation=op
    operator=oper output=out calculated=calc allocated=alloc authentication=auth background=bg foreground=fg
    development=dev production=prod directory=dir distance=dist division=div document=doc duration=dur
    encoded=enc decoded=dec execute=exec extension=ext generate=gen height=ht width=wd increment=incr
    language=lang level=lvl location=loc memory=mem multiple=multi navigation=nav necessary=nec
    notification=notif organization=org percentage=pct preference=pref registration=reg relative=rel
    required=reqd resource=rsrc schedule=sched selection=sel service=svc signature=sig statistics=stats
    status=stat system=sys table=tbl target=tgt thread=thr volume=vol window=win component=comp
    container=ctr controller=ctrl collection=coll dependency=dep dependencies=deps implementation=impl
    """,
    )
)
_LONG = {short: long for long, short in _PAIRS.items()}
_FILLERS = frozenset(
    re.findall(r"\w+", "current cur new the my this all list value val data info object obj string str")
)
_PREFIXES = ("new", "cur", "the", "my", "local", "this")
_SUFFIXES = ("value", "item", "data", "obj", "ref")
_QUALIFIED_SHARE = 0.6
"""Bare words that users of long names qualify [A]."""
_ABBREVIATE_FROM = 7
"""Letters of words that users of short names cut."""

RESERVED = frozenset(
    re.findall(
        r"\w+",
        """
    False None True abs abstract alignas alignof all and any append arguments array as asm assert async await
    auto bool boolean break byte bytes callable cap case catch chan char chr class clear close cmp complex
    const constexpr continue copy debugger declare def default defer del delete dict dir do double dynamic
    elif else enum eval except exec explicit export extends extern fallthrough false filter final finally
    float for format friend from func function global globals go goto hash hex id if implements import in
    inline input instanceof int int64 interface is iter key_type lambda len let list locals long make map
    match max min module mutable namespace native new next nil nonlocal not null number object oct open
    operator or ord package panic pass pow print private property protected public raise range record
    recover register repr require restrict return reversed round select self set short signed sizeof slice
    sorted static std str string struct sum super switch symbol synchronized template this throw throws
    transient true try tuple type typedef typeid typename typeof undefined union unsigned using var vars
    virtual void volatile wchar_t where while window with yield zip document event name top status parent
    length origin location history screen exports process global near far errno stdin stdout stderr unix
    linux exports
    """,
    )
)
"""Keywords and common built-in names of all languages here; no variable gets one of these as a new name."""

_FIXED = frozenset(("require", "exports", "module", "define", "cls", "self"))
"""Names by which tools or readers know a parameter."""

_RENAMABLE = re.compile(r"[a-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_CUT = re.compile(r"[^aeiou]*[aeiou]+[^aeiou]+")
_GROUPS = {word: words for words in reversed(SYNONYMS) for word in words}


@functools.lru_cache(maxsize=100_000)
def renamed(name: str, camel: bool, key: int, habit: Habit) -> str:
    """What the user with this `key` and `habit` calls the local variable `name`; often the same.

    `camel`: words of new names are joined in camel case unless `name` itself says otherwise.
    """
    if not _RENAMABLE.fullmatch(name) or name in _FIXED or (name[0] == "k" and name[1:2].isupper()):
        return name
    group = _GROUPS.get(name)
    if group is not None:
        free = [word for word in group if word not in RESERVED]
        return free[int(_unit(key, group[0]) * len(free))] if free else name
    words = [word if word.isupper() else word.lower() for word in _WORD.findall(name)]
    if "_" in name:
        camel = False
    elif len(words) > 1:
        camel = True
    if _join(words, camel) != name:
        return name  # mixed: no habit can be followed
    if habit is Habit.SHORT:
        words = _shorter(words)
    elif habit is Habit.LONG:
        words = _longer(words, key)
    new = _join(words, camel)
    return name if new in RESERVED or not _RENAMABLE.fullmatch(new) else new


def _shorter(words: list[str]) -> list[str]:
    if len(words) > 1:
        words = [word for word in words if word not in _FILLERS] or words[-1:]
    return [_abbreviated(word) for word in words]


def _abbreviated(word: str) -> str:
    if word in _PAIRS:
        return _PAIRS[word]
    if re.search("[^aiosu]s$", word) and len(word) > 3:
        short = _abbreviated(word[:-1])
        return word if short == word[:-1] else short + "s"
    if len(word) < _ABBREVIATE_FROM or word.isupper():
        return word
    found = _CUT.match(word)
    while found is not None and found.end() < 3:
        found = _CUT.match(word, found.end())
    return word[: min(found.end(), 5)] if found is not None else word


def _longer(words: list[str], key: int) -> list[str]:
    longer = [_LONG.get(word, word) for word in words]
    if longer != words or len(words) > 1 or len(words[0]) < 3:
        return longer
    word = words[0]
    if _unit(key, f"qualify {word}") >= _QUALIFIED_SHARE:
        return words
    if _unit(key, f"prefix {word}") < 0.5:
        return [_PREFIXES[int(_unit(key, "prefix") * len(_PREFIXES))], word]
    return [word, _SUFFIXES[int(_unit(key, "suffix") * len(_SUFFIXES))]]


def _join(words: list[str], camel: bool) -> str:
    if not camel:
        return "_".join(words)
    return words[0] + "".join(word[0].upper() + word[1:] for word in words[1:]) if words else ""


def _unit(key: int, purpose: str) -> float:
    """Uniform number in [0, 1) for one decision of the user with this key."""
    return rng.digest(key, purpose) / 2**64
