"""benchmarks/bench.py: every row runs against any URL and is bounded; results, table and plots are written."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "benchmarks" / "bench.py"


def bench(*arguments, code=0):
    done = subprocess.run([sys.executable, BENCH, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def other_server(start_server, fresh_database_url):
    return start_server(database_url=fresh_database_url, workers=1)


def test_all_rows_are_measured_and_written(server, tmp_path):
    done = bench(server.url, "--quick", "--names", "ours", "--out", tmp_path)
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["left_out"] == [] or {entry["row"] for entry in result["left_out"]} == {"cores"}  # may not pin
    assert {row["row"] for row in result["rows"]} >= {
        "flat", "flat_batches", "flat_running", "flat_running_100", "layers", "chain", "chain_waiting", "bulk", "reads",
        "idle_claims", "idle_beside_drain", "ready_jobs",
    }  # fmt: skip
    assert all(row["servers"]["ours"]["value"] > 0 for row in result["rows"])
    first = result["rows"][0]["servers"]["ours"]
    assert set(first["cpu_ms_per_job"]) == {"server", "postgres", "driver"}
    assert set(first["latency_ms"]) == {"claim", "start", "complete"}
    assert first["memory_mb"]["server"] > 10
    assert result["machine"]["cores"] and result["servers"][0]["version"]
    assert (tmp_path / "table.md").read_text().count("\n| ") == len(result["rows"]) + 1
    assert done.stdout.strip() == (tmp_path / "table.md").read_text().strip()
    assert done.stderr.count("] flat, round 1, ours") == 1
    for name in ("runners", "ready_jobs"):
        drawing = ElementTree.parse(tmp_path / f"{name}.svg").getroot()
        assert len(drawing.findall(".//{http://www.w3.org/2000/svg}polyline")) >= 2
    assert server.client.get("/workflows", params={"name": "bench"}).json["items"] == []


def test_two_servers_are_measured_in_turns_and_compared(server, other_server, tmp_path):
    only = ["--only", "flat", "idle_claims", "--rounds", 2]
    done = bench(server.url, "--against", other_server.url, "--quick", *only, "--names", "a", "b", "--out", tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    for row in rows:
        ratio = row["servers"]["a"]["value"] / row["servers"]["b"]["value"]
        assert row["ratio"] == pytest.approx(ratio, abs=0.01)
        assert len(row["servers"]["b"]["values"]) == 2
    turns = [line.split()[-1] for line in done.stderr.splitlines() if " flat, round" in line]
    assert done.stderr.count(" flat, round") == len(turns) == 4


def test_a_row_that_fails_is_told_and_the_others_go_on(server, tmp_path):
    """The second server refuses the port: nothing is measured; a server without a call leaves the row out."""
    assert "Connection refused" in bench("http://127.0.0.1:9", "--quick", code=1).stderr


@pytest.mark.parametrize(
    "script", ["bench.py", "drain.py", "dashboard.py", "growth.py", "compare.py", "decisions/measure.py"]
)
def test_each_script_tells_its_options(script):
    got = subprocess.run([sys.executable, BENCH.parent / script, "--help"], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
    assert got.stdout.startswith("usage:")


@pytest.mark.long
def test_a_small_workflow_is_measured_beside_finished_jobs_and_without(tmp_path):
    arguments = ["300", "--jobs", "20", "--runners", "1", "--rounds", "1", "--output", tmp_path]
    growth = BENCH.with_name("growth.py")
    done = subprocess.run([sys.executable, growth, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "growth.md").read_text().splitlines()
    assert done.stdout.splitlines() == lines
    assert lines[0] == "# A workflow of 20 jobs beside 300 finished ones"
    rows = {row[1].strip(): row for row in (line.split("|") for line in lines if line.startswith("| "))}
    assert {"drain", "claim, p99", "complete, p50", "list 100 jobs, CPU", "delete the workflow"} <= rows.keys()
