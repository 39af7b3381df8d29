"""The worker of worker.py with the calls that all clients since torc 0.22.2 know: one for each start and completion.

    python examples/worker_one_by_one.py WORKFLOW_ID --cpus 4 --memory-gb 8 --output /tmp/output

Both kinds may work on one workflow at the same time. Here a claim is not repeatable: jobs whose claim was answered to
nobody stay pending, until somebody hands them back (manage_status_change to ready).
"""

import connection
import worker
from torc.openapi_client import ApiException, ResultModel
from worker import patiently


class OneByOne(worker.Worker):
    def _claim(self, wait):  # noqa: ARG002
        """Jobs that fit beside those that run, pending; _start() says that they run."""
        free = self._free()
        if free is None:
            return []
        return patiently(self.api.claim_jobs_based_on_resources, self.workflow_id, free.num_cpus, free).jobs

    def _start(self, job):
        try:
            patiently(self.api.start_job, job.id, self.run_id, self.node.id)
        except ApiException as error:
            if error.status == 409:  # canceled since it was claimed
                return
            raise
        super()._start(job)

    def _send_results(self, entries):
        for entry in entries:
            result = ResultModel.from_dict(entry["result"])
            try:
                patiently(self.api.complete_job, entry["job_id"], entry["status"], self.run_id, result)
            except ApiException as error:
                if error.status != 422 or "already complete" not in error.body:
                    raise  # already complete: canceled with the workflow


if __name__ == "__main__":
    connection.run(lambda options: worker.main(options, OneByOne), worker.parse_arguments(__doc__))
