"""What it takes to load the query string of a claim each time: µs of CPU."""

import time

from torc_server.requests import _load_text
from torc_server.schemas.workflows import ClaimNextJobs

CALLS = 5000

schema = ClaimNextJobs()
samples = []
for _ in range(20):
    started = time.process_time()
    for _ in range(CALLS):
        _load_text(schema, "limit=10")
    samples.append((time.process_time() - started) / CALLS)
print(f"{min(samples) * 1e6:.1f} µs")
