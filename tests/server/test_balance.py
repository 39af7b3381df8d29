"""New connections go to the process that has the fewest, and none waits for one that is busy."""

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


def with_connections(slot, connections):
    own = Balance(slot)
    own.set(connections)
    return own


@pytest.mark.parametrize("others", [3, 4])
def test_a_process_with_as_few_connections_as_the_others_does_not_wait(slots, pauses, listener, others):
    with_connections(slots[0], others)
    with_connections(slots[1], 3).let_others_accept(listener)
    assert pauses == []


def test_a_process_with_more_connections_waits_until_another_has_accepted(slots, monkeypatch, listener):
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
