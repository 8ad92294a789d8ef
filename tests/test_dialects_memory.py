"""What is remembered of clients stays within its bounds, and is the newest."""

from hypothesis import given
from hypothesis import strategies as st

from echo_ray.dialects.memory import Recent
from echo_ray.dialects.speculative import Expected


def test_memory_is_bounded_for_one_session_and_for_all() -> None:
    one = Expected(per_session=4, total=100)
    for number in range(50):
        one.add(1, f"a{number}", "", ["b"])
    assert 4 == len(one)
    assert [False, True] == [one.holds(1, f"a{number}b", "") for number in (45, 49)]
    many = Expected(per_session=4, total=10)
    for session in range(50):
        many.add(session, "a", "", ["b"])
    assert 10 == len(many)
    assert [False, True, True] == [many.holds(session, "ab", "") for session in (39, 40, 49)]


def newest(
    puts: list[tuple[int, int, int]], per_owner: int, total: int, ttl_s: int
) -> list[tuple[int, int, int]]:
    """The same by the words of the docstring, with nothing but a list of (owner, key, value)."""
    held: list[tuple[int, int, int]] = []
    used: dict[int, int] = {}
    added_s: dict[int, int] = {}
    now_s = 0
    for at, (owner, key, pause_s) in enumerate(puts):
        now_s += pause_s
        held = [item for item in held if now_s - added_s[item[0]] <= ttl_s]
        added_s[owner] = now_s
        used[owner] = at
        held = [item for item in held if item[:2] != (owner, key)] + [(owner, key, at)]
        mine = [item for item in held if item[0] == owner]
        if len(mine) > per_owner:
            held.remove(mine[0])
        if len(held) > total:
            idle = min({item[0] for item in held}, key=used.__getitem__)
            held.remove(next(item for item in held if item[0] == idle))
    return held


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 4)), max_size=60))
def test_the_memory_holds_the_newest_within_its_bounds(puts: list[tuple[int, int, int]]) -> None:
    now_s = 0
    memory: Recent[int] = Recent(3, 7, ttl_s=6, now=lambda: now_s)
    for at, (owner, key, pause_s) in enumerate(puts):
        now_s += pause_s
        memory.put(owner, key, at)
    expected = newest(puts, 3, 7, 6)
    assert len(expected) == len(memory)
    assert all(value == memory.get(owner, key) for owner, key, value in expected)
    for asked in range(6):
        assert [value for owner, _, value in expected if owner == asked] == list(memory.of(asked))
