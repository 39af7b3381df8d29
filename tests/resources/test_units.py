"""Memory sizes and durations as clients write them: what each means, and what is refused."""

import pytest


@pytest.fixture
def store(workflow):
    """Store requirements; return the bytes and seconds that claims compare."""

    def create(status=200, **fields):
        body = {"workflow_id": workflow.id, "name": "r"} | fields
        answer = workflow.client.post("/resource_requirements", json=body, status=status).json
        if status != 200:
            return answer["error"]
        assert answer.items() >= fields.items()  # text comes back as it was sent
        [stored] = workflow.sql(
            "SELECT memory_bytes, runtime_s FROM torc.resource_requirements WHERE id = %s", answer["id"]
        )
        return stored

    return create


@pytest.mark.parametrize(
    "text, size",
    [
        ("512k", 524288),
        ("1m", 1048576),
        ("2g", 2147483648),
        ("2T", 2 * 2**40),
        ("2t", 2 * 2**40),
        ("1K", 1024),
        ("128M", 128 * 2**20),
        ("4G", 4 * 2**30),
        ("1024", 1024),
        ("0", 0),
        (" 1k ", 1024),
        ("\t1k\n", 1024),
        ("+1g", 2**30),
        ("-0", 0),
        ("007", 7),
        ("9223372036854775807", 2**63 - 1),
        ("8388607t", 8388607 * 2**40),
    ],
)
def test_memory_is_digits_and_one_letter_in_powers_of_1024(store, text, size):
    assert store(memory=text)[0] == size


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "Memory string cannot be empty"),
        ("  ", "Memory string cannot be empty"),
        ("1gb", "Invalid memory unit: b"),
        ("1GiB", "Invalid memory unit: B"),
        ("1x", "Invalid memory unit: x"),
        ("1.5g", "Invalid number in memory string: 1.5"),
        ("1 g", "Invalid number in memory string: 1 "),
        ("g", "Invalid number in memory string: "),
        ("1_000", "Invalid number in memory string: 1_000"),
        ("--1", "Invalid number in memory string: --1"),
        ("1e3", "Invalid number in memory string: 1e3"),
        ("-1k", "Memory size cannot be negative"),
        ("-1", "Memory size cannot be negative"),
        ("9223372036854775808", "Memory size too large, would cause overflow"),
        ("8388608t", "Memory size too large, would cause overflow"),
    ],
)
def test_other_memory_is_422_with_the_reason(store, text, why):
    error = store(memory=text, status=422)
    assert error["message"] == f"Invalid memory format '{text}': {why}"
    assert (error["field"], error["value"]) == ("memory", text)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("PT30M", 1800),
        ("PT2H", 7200),
        ("P1DT12H", 129600),
        ("P0DT1M", 60),
        ("P1M", 2629800),
        ("P1W", 604800),
        ("P1Y", 31557600),
        ("P1D", 86400),
        ("PT90M", 5400),
        ("PT36H", 129600),
        ("PT1.9S", 1),
        ("PT1,9S", 1),
        ("PT", 0),
        ("P1DT", 86400),
        ("PT0S", 0),
        (" PT1M ", 60),
        ("P1Y2M3DT4H5M6S", 31557600 + 2 * 2629800 + 3 * 86400 + 14706),
        ("PT4294967295S", 4294967295),
        ("P0001-02-03T04:05:06", 31557600 + 2 * 2629800 + 3 * 86400 + 14706),
    ],
)
def test_a_runtime_is_an_iso_8601_duration(store, text, seconds):
    assert store(runtime=text)[1] == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "P",
        "T1H",
        "30m",
        "60",
        "pt1m",
        "PT1m",
        "P1.5D",
        "-PT1H",
        "PT-5M",
        "+PT1H",
        "PT1.5H",
        "PT30M1H",
        "PT1Mjunk",
        "P1W2D",
        "P1D2M",
        "PT1H P",
        "PT1MPT1M",
        "P 1D",
        "PT٣M",
        "PT4294967296S",
        "P99999999999999999999Y",
    ],
)
def test_other_runtimes_and_leftovers_after_a_duration_are_422(store, text):
    error = store(runtime=text, status=422)
    assert error["message"].startswith(f"Invalid runtime format '{text}': ")
    assert (error["field"], error["value"]) == ("runtime", text)


def test_a_long_text_is_cut_in_the_message(store):
    error = store(runtime="x" * 5000, status=422)
    assert len(error["message"]) < 300


@pytest.mark.parametrize("text, gigabytes", [("256g", 256), ("512m", 0.5), ("1t", 1024), ("1073741824", 1), ("0", 0)])
def test_the_memory_of_a_compute_node_is_read_the_same_way(workflow, text, gigabytes):
    body = {"workflow_id": workflow.id, "hostname": "h", "num_cpus": 1, "num_gpus": 0, "memory": text}
    answer = workflow.client.post("/compute_nodes", json=body).json
    assert (answer["memory_gb"], answer["memory"]) == (gigabytes, text)
