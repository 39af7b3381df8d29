"""Statements that a Database sends together, without a batch."""

import select

from torc_server.errors import ApiError


class Waits:
    """Instead of Batches, for one batch: how it waits."""

    def __init__(self, give_way=lambda: None):
        self.give_way = give_way
        self.waited_for = []

    def wait(self, descriptor, events=select.POLLIN):
        self.waited_for.append(events)
        poll = select.poll()
        poll.register(descriptor, events)
        assert poll.poll(30_000)


def outcomes_of(database, *statements, waits=None):
    """The outcomes of statements that a Database sends together; for each the same error if it raises one."""
    outcomes = []

    def talk(send, receive, _make_durable):
        for statement in statements:
            send(*statement, len(statements) == 1)
        outcomes.extend(receive() for _ in statements)

    try:
        database.run_together(talk, waits or Waits())
    except ApiError as error:
        return [error] * len(statements)
    return outcomes
