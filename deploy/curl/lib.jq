# What the scripts in this folder share in jq: requests, times, texts for a terminal.

# Requests

# A request {method, path, body} as one operation of curl's configuration; `connection` holds what all have.
def curl_request:
  "next\n\($ENV.connection)\nrequest = \(.method)\nurl = \($ENV.api + .path | tojson)\n"
  + (if .body then "data-raw = \(.body | tojson | tojson)\n" else "" end)
  + "write-out = \"\\n%{http_code}\\n\"\n";

# The answers to such requests: each body is followed by its status.
def answers:
  foreach inputs as $value (
    {wait: true};
    if .wait then {answer: $value} else {answer, status: $value, wait: true} end;
    select(.wait) | {status, answer});

# Times

# Seconds since 1970 of a time in RFC 3339; null if it is not one.
def epoch:
  (strings | capture("^(?<d>\\d{4}-\\d\\d-\\d\\d)[T ](?<t>\\d\\d:\\d\\d:\\d\\d)(\\.\\d+)?(?<z>Z|(?<s>[+-])(?<h>\\d\\d):?(?<m>\\d\\d))?$")
  | ("\(.d)T\(.t)Z" | fromdateiso8601)
    - (if .s then ((.h | tonumber) * 3600 + (.m | tonumber) * 60) * (if .s == "-" then -1 else 1 end) else 0 end))
  // null;

def utc: todateiso8601 | "\(.[:10]) \(.[11:19]) UTC";

# Seconds of an ISO 8601 duration such as P1DT2H30M; null if it is not one.
def duration:
  (capture("^P((?<Y>\\d+)Y)?((?<M>\\d+)M)?((?<W>\\d+)W)?((?<D>\\d+)D)?(T((?<h>\\d+)H)?((?<m>\\d+)M)?((?<s>\\d+)(\\.\\d+)?S)?)?$")
  | map_values((. // "0") | tonumber)
  | .Y * 31557600 + .M * 2629800 + .W * 604800 + .D * 86400 + .h * 3600 + .m * 60 + .s)
  // null;

# Seconds in words: the two largest units.
def span:
  (if . < 0 then 0 else floor end) as $s
  | [[$s / 86400 | floor, "d"], [$s % 86400 / 3600 | floor, "h"], [$s % 3600 / 60 | floor, "min"], [$s % 60, "s"]]
  | until(length == 1 or .[0][0] > 0; .[1:])
  | [.[:2][] | select(.[0] > 0)]
  | if . == [] then "0 s" else map("\(.[0]) \(.[1])") | join(" ") end;

# Texts

# On one line and without what would drive a terminal.
def clean: tostring | if test("[[:cntrl:]]") then gsub("[[:cntrl:]]+"; "?") else . end;

def quoted: "\"\(clean)\"";

def plural(word): "\(.) \(word)\(if . == 1 then "" else "s" end)";

# The last lines of a text, indented.
def tail($lines; $indent):
  if $lines == 0 then empty
  else rtrimstr("\n") | split("\n") | .[-$lines:][] | "\($indent)| \(gsub("\t"; "    ") | clean)"
  end;

# Rows of cells as aligned lines: numbers to the right, texts to the left, the last column as it is.
def table:
  def pad($width): if type == "number" then tostring | (" " * ($width - length) // "") + . else . + (" " * ($width - length) // "") end;
  (reduce .[] as $row ([]; reduce range($row | length) as $i (.; .[$i] = ([.[$i] // 0, ($row[$i] | tostring | length)] | max)))) as $widths
  | .[]
  | [range(length - 1) as $i | .[$i] | pad($widths[$i])] + [.[-1] | tostring]
  | join("  ");

# Workflows, jobs, nodes

# From the answers that summarize() asks for.
def summary($statuses):
  .[0] as $workflow | .[1] as $status | .[2] as $complete
  | ($statuses | split(" ")) as $words
  | ([range($words | length) as $i | {key: $words[$i], value: .[3 + $i].total_count}] | from_entries) as $counts
  | ([$counts[]] | add) as $total
  | ($counts | .completed + .failed + .canceled + .terminated + .disabled) as $done
  | {
      id: $workflow.id, name: $workflow.name, user: $workflow.user, created: $workflow.timestamp,
      age_seconds: ((now - ($workflow.timestamp | epoch)) | floor),
      run_id: $status.run_id, is_canceled: $status.is_canceled, is_archived: $status.is_archived,
      is_complete: $complete.is_complete,
      total: $total, done: $done, percent: (if $total == 0 then 100 else $done * 100 / $total | floor end),
      unsuccessful: ($counts | .failed + .canceled + .terminated + .pending_failed),
      active: ($counts | .ready + .pending + .running),
      counts: $counts
    }
  | .state = (
      if .is_canceled then "canceled"
      elif .total == 0 then "without jobs"
      elif .is_complete then "complete"
      elif .counts.uninitialized + .counts.disabled == .total then "not initialized"
      elif .counts.running + .counts.pending > 0 then "running"
      elif .counts.ready > 0 then "waiting for workers"
      elif .counts.pending_failed > 0 then "waiting for a decision on jobs that are pending_failed"
      else "waiting" end);

def bar($width): (.percent * $width / 100 | floor) as $n | ("#" * $n // "") + ("-" * ($width - $n) // "");

def node_name: "node \(.id) on \(.hostname | clean)";

# Pages of jobs, in the order of the nodes, as single jobs with their node.
def jobs_with_nodes($nodes):
  foreach inputs as $page (-1; . + 1; . as $i | $page.items[] | .node = $nodes[$i]);

# An event, stored or live, in words.
def event_text:
  (.data | if type == "object" then . else {data: .} end) as $data
  | (.event_type // ($data | .category // .event_type // .type // .action) // "event") as $kind
  | ($data | del(.message, .workflow_id) | to_entries
      | map(select(.value != null and .value != $kind) | "\(.key)=\(.value | if type == "string" then . else tojson end)") | join(" ")) as $rest
  | [ $kind, (.severity // empty | select(. != "info")), ($data.message // empty), (if $rest == "" then empty else $rest end) ]
  | join("  ");

# How a result says that the job ended.
def outcome($nodes):
  [ "return code \(.return_code)",
    (if .exec_time_minutes > 0 then "after \(.exec_time_minutes * 60 | span)" else empty end),
    "on \($nodes[.compute_node_id | tostring] // {id: .compute_node_id, hostname: "?"} | node_name)",
    (if (.attempt_id // 1) > 1 then "attempt \(.attempt_id)" else empty end),
    (.completion_time | epoch // empty | utc)
  ] | join(", ");

# Who canceled a workflow, from its events; what nobody has recorded is left out.
def canceled_by:
  if length == 0 then "canceled by hand"
  else .[-1] | "canceled with the workflow, \(.timestamp / 1000 | floor | utc)\(if .data.user then " by \(.data.user | clean)" else "" end)"
  end;

# The unsuccessful jobs with their results and causes. Reads the dependencies of the workflow; the lists may be long, so
# each is gone through once.
def unsuccessful($jobs; $results; $nodes; $events):
  (reduce $nodes[] as $node ({}; .["\($node.id)"] = $node)) as $nodes
  | (reduce $results[] as $result ({}; .["\($result.job_id)"] = $result)) as $results
  | (reduce $jobs[] as $job ({}; .["\($job.id)"] = $job)) as $by_id
  # For each canceled job without a result one dependency that was not successful, rather one that has failed itself.
  | (reduce inputs as $edge ({};
      $by_id["\($edge.job_id)"] as $job | $by_id["\($edge.depends_on_job_id)"] as $cause
      | if $job.status == "canceled" and ($results["\($job.id)"] | not) and $job.cancel_on_blocking_job_failure != false
          and $cause != null and $cause.status != "pending_failed"
          and (.["\($job.id)"] == null or $cause.status != "canceled")
        then .["\($job.id)"] = $cause.id else . end)) as $causes
  | (reduce ($jobs | sort_by(.id)[]) as $job ({};
      $causes["\($job.id)"] as $cause
      | if $cause == null then .
        else
          (if .["\($cause)"] != null then .["\($cause)"] else $cause | until($causes["\(.)"] == null; $causes["\(.)"]) end) as $root
          | .["\($job.id)"] = $root
        end)) as $roots
  | ($events | canceled_by) as $canceled
  | $jobs | sort_by(.id)[]
  | $results["\(.id)"] as $result | $roots["\(.id)"] as $root
  | {id, name, status, attempt_id}
    + if $result then {reason: ($result | outcome($nodes)), result: $result}
      elif $root then {
        reason: "because job \($root) \($by_id["\($root)"] | "\(.name | quoted) \(if .status == "canceled" then "was canceled" else "is \(.status)" end)")",
        cause: $root
      }
      elif .status == "canceled" then {reason: $canceled}
      else {reason: "without a result"} end;

# The same for a terminal: those with results one by one, the others by cause, at most 10 of each.
def show_unsuccessful($lines):
  (map(.id | tostring | length) | max) as $width
  | (length | "\(plural("job")) not successful"),
    (map(select(.cause == null and .status != "canceled" or .result != null))[]
      | "", "\(.id)  \(.status)  \(.name | clean)", "    \(.reason)", (.result.stderr // "" | select(. != "") | tail($lines; "    "))),
    (map(select(.status == "canceled" and .result == null)) | group_by([.cause, .reason])[]
      | "", "\(length | plural("job")) canceled \(.[0].reason | ltrimstr("canceled "))",
        (.[:10] | map(["  ", .id, (.name | clean)]) | table),
        (if length > 10 then "    and \(length - 10) more" else empty end));

# What a dead worker may have left in a workflow, one line each.
def stale($workflow; $silent; $nodes; $running; $requirements; $pending; $placed):
  def job: "job \(.id) of workflow \(.workflow_id) \(.name | quoted)";
  (reduce $requirements[] as $r ({}; .["\($r.id)"] = ($r.runtime | duration))) as $runtimes
  | def runtime: $runtimes["\(.resource_requirements_id)"] // 0;
  (range($nodes | length) as $i | $nodes[$i]
    | [$placed[] | select(.node.id == $nodes[$i].id)] as $jobs
    | (.last_seen // .start_time | epoch // 0) as $sign
    | (now - $sign) as $age
    | if $age > ([$silent * 60, ($jobs[] | runtime)] | max) then
        "\(node_name) of workflow \($workflow): active, without a sign of life for \($age | span), \($jobs | length | plural("job")) running"
      else empty end,
      ($jobs[] | select($age > ([$silent * 60, runtime] | max))
        | "\(job): runs on \($nodes[$i] | node_name) since then; it asked for \(runtime | span)")),
  (reduce $placed[] as $job ({}; .["\($job.id)"] = true)) as $on_a_node
  | ($running[] | select($on_a_node["\(.id)"] | not) | "\(job): running, but on no active node"),
    (if ($nodes | length) == 0 and $pending[0].total_count > 0 then
      "workflow \($workflow): \($pending[0].total_count | plural("job")) pending, but no node is active"
    else empty end);

# What keeps a ready job from running. The input: what it requires, or null.
def why_ready($nodes):
  . as $need
  | if ($nodes | length) == 0 then "  It waits for a worker: no compute node of the workflow is active."
    else
      ($nodes | map(select($need == null or .num_cpus >= $need.num_cpus and .num_gpus >= $need.num_gpus and .num_nodes >= $need.num_nodes))
        | length) as $fitting
      | "  It waits for a worker to claim it: \($fitting) of \($nodes | length | plural("active node")) "
        + "\(if $fitting == 1 then "has" else "have" end) the \($need.num_cpus | plural("CPU")), \($need.num_gpus | plural("GPU")) and "
        + "\($need.num_nodes | plural("node")) that it needs."
    end;
