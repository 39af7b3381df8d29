"""New connections go to the first process that does not have its fill, then to the one that has the fewest; none waits
for one that is busy."""

import socket
from contextlib import ExitStack, closing, contextmanager

import psutil
import pytest
from support import HttpClient, wait_for

from torc_server import balance
from torc_server.balance import Balance
from torc_server.polling import readable


@pytest.fixture(autouse=True)
def slots():
    """The slots of these tests, which no process has."""
    yield 101, 102
    for slot in (101, 102):
        balance.leave(slot)


@pytest.fixture
def listener():
    """A listening socket at which a connection waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        assert readable([listener], 10)
        yield listener


@pytest.fixture
def pauses(monkeypatch):
    """How often it has waited so far."""
    found = []
    monkeypatch.setattr(balance.time, "sleep", found.append)
    return found


FULL = 48  # the fill of each of two processes


def with_connections(slot, connections, most=4000):
    own = Balance(slot, workers=2, most=most)
    own.set(connections)
    return own


@pytest.mark.parametrize(
    "first, second, whose_turn",
    [
        (0, 0, 0), (5, 0, 0), (FULL - 1, 0, 0), (FULL - 1, FULL, 0),
        (FULL, 0, 1), (FULL, FULL - 1, 1), (FULL + 9, 3, 1), (FULL + 1, FULL, 1),
        (FULL, FULL + 1, 0),
    ],
)  # fmt: skip
def test_the_first_process_has_its_fill_before_the_next_and_then_the_one_with_the_fewest_is_next(
    slots, pauses, listener, first, second, whose_turn
):
    one, two = with_connections(slots[0], first), with_connections(slots[1], second)
    (one, two)[whose_turn].let_others_accept(listener)
    assert pauses == []
    (two, one)[whose_turn].let_others_accept(listener)
    assert len(pauses) == balance.STEPS


@pytest.mark.parametrize("first, second", [(FULL, FULL), (FULL + 5, FULL + 5)])
def test_whichever_is_faster_accepts_where_all_have_the_same_and_their_fill(slots, pauses, listener, first, second):
    for each in with_connections(slots[0], first), with_connections(slots[1], second):
        each.let_others_accept(listener)
    assert pauses == []


@pytest.mark.parametrize("workers, fill", [(1, 96), (2, 48), (4, 24), (8, 12), (100, 8)])
def test_the_more_processes_the_fewer_connections_are_the_fill_of_one(slots, pauses, listener, workers, fill):
    one, two = (Balance(slot, workers, most=4000) for slot in slots)
    one.set(fill - 1)
    two.let_others_accept(listener)
    assert len(pauses) == balance.STEPS
    one.set(fill)
    Balance(slots[1], workers, most=4000).let_others_accept(listener)
    assert len(pauses) == balance.STEPS


def test_a_process_that_may_have_no_more_connections_has_its_fill(slots, pauses, listener):
    one, two = with_connections(slots[0], 10, most=10), with_connections(slots[1], 9, most=10)
    two.let_others_accept(listener)
    assert pauses == []
    one.let_others_accept(listener)
    assert len(pauses) == balance.STEPS


def test_a_process_whose_turn_it_is_not_waits_until_another_has_accepted(slots, monkeypatch, listener):
    with_connections(slots[0], 0)
    accepted = []

    def accept_the_second_time(_):
        accepted.append(listener.accept()[0] if accepted else None)

    monkeypatch.setattr(balance.time, "sleep", accept_the_second_time)
    own = with_connections(slots[1], 3)
    own.let_others_accept(listener)
    assert len(accepted) == 2
    accepted[1].close()


def test_it_waits_for_a_moment_only_and_then_for_a_while_not_at_all(slots, pauses, listener, monkeypatch):
    monkeypatch.setattr(balance, "HASTE_SECS", 60)
    with_connections(slots[0], 0)
    own = with_connections(slots[1], 3)
    own.let_others_accept(listener)
    assert len(pauses) == balance.STEPS
    own.let_others_accept(listener)
    assert len(pauses) == balance.STEPS


def test_a_process_that_has_left_is_not_waited_for(slots, pauses, listener):
    with_connections(slots[0], 0)
    balance.leave(slots[0])
    with_connections(slots[1], 3).let_others_accept(listener)
    assert pauses == []


def test_a_process_that_leaves_is_not_waited_for_whatever_it_tells_later(slots, pauses, listener):
    other = with_connections(slots[0], 0)
    other.leave()
    other.set(1)
    other.let_others_accept(listener)
    with_connections(slots[1], 3).let_others_accept(listener)
    assert pauses == []


def test_a_process_beyond_the_places_accepts_at_once(slots, pauses, listener):
    with_connections(slots[0], 0)
    with_connections(balance.MOST, 3).let_others_accept(listener)
    balance.leave(balance.MOST)
    assert pauses == []


def connections_of(server):
    """How many connections each worker has."""
    return [
        sum(1 for each in psutil.Process(pid).net_connections() if each.laddr and each.laddr.port == server.port)
        - 1  # it listens
        for pid in server.workers()
    ]


@pytest.fixture
def connect(start_server):
    """(server with two processes, connect() makes a connection that stays)."""
    server = start_server(workers=2)
    with ExitStack() as stack:
        yield server, lambda: stack.enter_context(closing(HttpClient(server.url, timeout=20))).get("/ping")


@contextmanager
def hanging(server):
    """The pid of one process, which is stopped meanwhile."""
    process = psutil.Process(server.workers()[0])
    process.suspend()
    try:
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED, what="the process to stop")
        yield
    finally:
        process.resume()


def test_while_a_process_hangs_the_other_accepts_and_afterwards_those_that_connect_go_to_the_first(connect):
    server, connect = connect
    with hanging(server):
        for _ in range(30):
            connect()
        assert connections_of(server) == [0, 30]

    def are_even():
        connect()
        one, two = connections_of(server)
        return abs(two - one) <= 1

    wait_for(are_even, 20, "as many connections of each")
    assert sum(connections_of(server)) < 140  # where chance decides, they need not become even at all
