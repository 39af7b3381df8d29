"""The statements of a batch are sent when all calls have asked, and the calls go on when all outcomes are there."""

from torc_server.batches import Batch

overlapping = Batch._talk


def talk(batch, send, receive, _make_durable):
    for _ in batch._arrivals:
        pass
    outcomes = []

    def received():
        outcomes.extend(receive() for _ in range(len(batch._sent) - len(outcomes)))
        return outcomes.pop(0)

    overlapping(batch, send, received, lambda: None)


Batch._talk = talk
