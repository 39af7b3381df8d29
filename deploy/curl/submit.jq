# What submit makes of a file.

include "lib";

def lists: ["files", "user_data", "resource_requirements", "jobs"];

# Lists of names in a job, and the list of the file that each one refers to.
def references: {
  depends_on: "jobs", input_files: "files", output_files: "files", input_user_data: "user_data", output_user_data: "user_data"
};

def known_fields: {
  workflow: [
    "name", "user", "description", "project", "metadata", "slurm_config", "execution_config", "resource_monitor_config",
    "slurm_defaults", "use_pending_failed", "enable_ro_crate", "compute_node_expiration_buffer_seconds",
    "compute_node_wait_for_new_jobs_seconds", "compute_node_ignore_workflow_completion",
    "compute_node_wait_for_healthy_database_minutes", "compute_node_min_time_for_new_jobs_seconds"
  ],
  files: ["name", "path", "st_mtime"],
  user_data: ["name", "data", "is_ephemeral"],
  resource_requirements: ["name", "num_cpus", "num_gpus", "num_nodes", "memory", "runtime"],
  jobs: (["name", "command", "invocation_script", "cancel_on_blocking_job_failure", "supports_termination", "priority",
    "resource_requirements"] + (references | keys))
};

# The file, read with -s, as {workflow, files, user_data, resource_requirements, jobs}; what is wrong stays for problems.
def specification($name; $user):
  if length != 1 or (.[0] | type) != "object" then {workflow: null}
  else
    .[0] as $file
    | {workflow: ($file | del(.[lists[]]))}
    | .workflow.user = (.workflow.user // $user)
    | (if $name != "" then .workflow.name = $name else . end)
    # The interface wants the text of JSON where a file may hold JSON itself.
    | .workflow |= with_entries(if .value | type == "object" or type == "array" then .value |= tojson else . end)
    | . + (lists | map({key: ., value: ($file[.] // [])}) | from_entries)
  end;

def unknown_fields($where; $known): keys - $known | .[] | "\($where): unknown field '\(clean)'";

# What is wrong with a specification, one line each.
def problems:
  . as $all | known_fields as $known | references as $references
  | if .workflow == null then "the file is not one JSON object"
    else
      (.workflow | unknown_fields("workflow"; $known.workflow)),
      (if .workflow.name | type != "string" then "workflow: 'name' is missing" else empty end),
      (lists[] as $list | $all[$list]
        | if type != "array" then "\($list): not a list"
          else
            (to_entries[] | "\($list)[\(.key)]" as $where | .value
              | if type != "object" then "\($where): not an object"
                else unknown_fields($where; $known[$list]),
                  (if .name | type != "string" then "\($where): 'name' is missing" else empty end)
                end),
            (map(objects | .name | strings) | group_by(.)[] | select(length > 1) | "\($list): \(length) are named '\(.[0] | clean)'")
          end)
    end,
    (if .jobs | type == "array" then
      (lists | map({key: ., value: ($all[.] | arrays | reduce (.[] | objects | .name | strings) as $n ({}; .[$n] = true))}) | from_entries) as $names
      | .jobs | to_entries[] | select(.value | type == "object") | "jobs[\(.key)] '\(.value.name // "" | clean)'" as $where | .value
        | (if .command | type != "string" then "\($where): 'command' is missing" else empty end),
          ($references | to_entries[]) as $reference
          | .[$reference.key] // []
          | if type != "array" then "\($where): '\($reference.key)' is not a list of names"
            else .[] | select($names[$reference.value]["\(.)"] | not) | "\($where): \($reference.key) names '\(clean)', which is not in \($reference.value)"
            end
    else empty end),
    (if .jobs | type == "array" then
      ([.resource_requirements | arrays[] | objects | .name] + ["default"]) as $names
      | .jobs | to_entries[] | .key as $i | .value | objects | select(.resource_requirements) | .resource_requirements as $name
      | select($names | index([$name]) | not) | "jobs[\($i)] '\(.name | clean)': resource_requirements names '\($name | clean)', which is not there"
    else empty end);

# The jobs as {level, job}: a job depends on jobs of lower levels only. Jobs in a cycle, and those behind, have no level.
# Each round takes all jobs whose dependencies have a level, back and forth, so that one round does for a file in order.
def jobs_by_level:
  # To an object with the levels by name. For jq 1.6 to change it and not to copy it, it must be flat, and nothing may
  # be left to try when it is changed, as // would do.
  def add_levels($jobs):
    reduce $jobs[] as $job (.;
      [.[$job.depends_on | arrays[]]] as $levels
      | if $levels | index([null]) then . else .[$job.name] = ($levels + [-1] | max) + 1 end);
  .jobs as $jobs
  | {left: .jobs, level: {}, again: true}
  | until(.again | not;
      .left as $left
      | (.level | add_levels($left)) as $level
      | [$left[] | select($level[.name] == null)] as $still
      | {left: ($still | reverse), level: $level, again: ($still != [] and ($still | length) < ($left | length))})
  | .level as $level
  | $jobs[] | {level: $level[.name], job: .};

# Of jobs without a level: who waits for whom.
def cycle:
  ([inputs | select(.level == null) | {key: .job.name, value: .job.depends_on}] | from_entries) as $waits
  | def next: first($waits[.][] | select($waits[.] != null));
  (reduce $waits[] as $_ ($waits | keys_unsorted[0]; next)) as $inside
  | [$inside, ($inside | next | recurse(if . == $inside then empty else next end))]
  | "jobs: a cycle, each depends on the next: \(.[:10] | map(clean) | join(", "))\(if length > 10 then " …" else "" end)";

# A job with ids instead of names.
def with_ids($workflow; $jobs; $files; $user_data; $requirements):
  def ids($names; $known): if ($names // []) == [] then null else [$known[$names[]]] | unique end;
  del(.[references | keys[]], .resource_requirements)
  + {
      workflow_id: $workflow,
      depends_on_job_ids: ids(.depends_on; $jobs),
      input_file_ids: ids(.input_files; $files), output_file_ids: ids(.output_files; $files),
      input_user_data_ids: ids(.input_user_data; $user_data), output_user_data_ids: ids(.output_user_data; $user_data),
      resource_requirements_id: $requirements[.resource_requirements // "default"]
    }
  | with_entries(select(.value != null));
