"""New connections go to the process that has the fewest."""

from torc_server import balance

balance.FILL = balance.LEAST_FILL = 1
