"""Create a workflow with torc's Python client: split a text, count words in all parts at once, merge the counts.

    id=$(python examples/word_count.py --text README.md --parts 8 --folder /tmp/words)    # the workflow's id
    python examples/worker.py $id --cpus 4     # start several if you like
    less /tmp/words/counts.json

Jobs name the files that they read and write, nothing else: initialize_jobs derives from them that the counts wait for
the split and the merge waits for all counts.
"""

import argparse
import getpass
import shlex
from pathlib import Path

import connection
from torc import create_jobs
from torc.openapi_client import FileModel, JobModel, ResourceRequirementsModel, WorkflowModel

SPLIT = """
import sys
text, *parts = sys.argv[1:]
lines = open(text).readlines()
for i, part in enumerate(parts):
    open(part, "w").writelines(lines[len(lines) * i // len(parts) : len(lines) * (i + 1) // len(parts)])
"""
COUNT = r"""
import collections, json, re, sys
part, counts = sys.argv[1:]
words = re.findall(r"\w+", open(part).read().lower())
json.dump(collections.Counter(words), open(counts, "w"))
print(len(words), "words")
"""
MERGE = """
import collections, json, sys
*parts, total = sys.argv[1:]
counts = sum((collections.Counter(json.load(open(part))) for part in parts), collections.Counter())
json.dump(dict(counts.most_common()), open(total, "w"), indent=1)
"""


def main(options):
    options.folder.mkdir(parents=True, exist_ok=True)
    options.text.stat()  # a text that is missing is found before a workflow is made
    api = connection.connect(options)
    workflow = api.create_workflow(WorkflowModel(name="word count", user=getpass.getuser()))
    create_jobs(api, jobs(api, workflow.id, options))
    api.initialize_jobs(workflow.id)
    print(workflow.id)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    connection.add_options(parser)
    parser.add_argument("--text", type=Path, required=True, help="the text to count")
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--folder", type=Path, required=True, help="where parts and counts go; counts.json in the end")
    parser.add_argument("--fail-part", type=int, metavar="K", help="part K (from 0) fails until FOLDER/mended exists")
    return parser.parse_args()


def jobs(api, workflow_id, options):
    """The jobs split, count_0 …, merge; creates the files and requirements that they refer to."""
    small = ResourceRequirementsModel(workflow_id=workflow_id, name="small", num_cpus=1, memory="100m", runtime="PT5M")
    small_id = api.create_resource_requirements(small).id
    folder = options.folder.resolve()
    numbers = range(options.parts)

    def file(name, path, **more):
        return api.create_file(FileModel(workflow_id=workflow_id, name=name, path=str(path), **more))

    text = file("text", options.text.resolve(), st_mtime=options.text.stat().st_mtime)
    parts = [file(f"part_{i}", folder / f"part_{i}.txt") for i in numbers]
    counts = [file(f"counts_{i}", folder / f"counts_{i}.json") for i in numbers]
    total = file("counts", folder / "counts.json")

    def job(name, script, inputs, outputs, before=""):
        return JobModel(
            workflow_id=workflow_id,
            name=name,
            command=before + shlex.join(["python3", "-c", script, *(file.path for file in inputs + outputs)]),
            input_file_ids=[file.id for file in inputs],
            output_file_ids=[file.id for file in outputs],
            resource_requirements_id=small_id,
        )

    mended = f"test -e {shlex.quote(str(folder / 'mended'))} && "
    yield job("split", SPLIT, [text], parts)
    for i in numbers:
        yield job(f"count_{i}", COUNT, [parts[i]], [counts[i]], before=mended if i == options.fail_part else "")
    yield job("merge", MERGE, counts, [total])


if __name__ == "__main__":
    connection.run(main, parse_arguments())
