"""What it takes to load the query string of a claim as requests do: µs of CPU."""

import time

from torc_server import current
from torc_server.requests import load_query
from torc_server.schemas.workflows import ClaimNextJobs

CALLS = 5000

schema = ClaimNextJobs()
current.begin({"QUERY_STRING": "limit=10"}, None)
samples = []
for _ in range(20):
    started = time.process_time()
    for _ in range(CALLS):
        load_query(schema)
    samples.append((time.process_time() - started) / CALLS)
print(f"{min(samples) * 1e6:.1f} µs")
