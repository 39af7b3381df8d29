-- A job's row is written five times until it is complete. Without room in its page, new rows and new versions go to what
-- is left of old pages, one in each, and each of those is read, and written whole to the log after a checkpoint: beside
-- a million finished jobs, 1,000 new ones took 969 pages instead of 120, initialize_jobs 21 µs a job instead of 17, and
-- claims 41 instead of 35 (benchmarks/growth.py). Pages that are full already stay so.
ALTER TABLE torc.job SET (fillfactor = 85);
