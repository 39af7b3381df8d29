# shellcheck shell=sh
# What the scripts in this folder share: help, arguments, login, requests, errors. It is sourced, not run.
#
# A script starts with its documentation as a comment, which is also its help, and then sources this file.

set -eu
umask 077

script=$(basename "$0")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() { # EXIT-CODE MESSAGE
    printf '%s: %s\n' "$script" "$2" >&2
    exit "$1"
}

wrong_usage() { # MESSAGE
    fail 2 "$1 (help: $script -h)"
}

help() {
    sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0"
    cat <<END

Environment:
  TORC_API_URL    the server (http://localhost:8080/torc-service/v1)
  TORC_USER, TORC_PASSWORD
                  who logs in; without a password ~/.netrc is used
  TORC_NETRC      a netrc file to use instead of ~/.netrc
  TORC_CACERT     the certificate authority of the server, a PEM file
  TORC_TIMEOUT    seconds that a request may take (600)
  TORC_PAGE_SIZE  rows of a list that one request asks for (10000)

Exit codes: 0 fine, 1 no or found, 2 wrong usage, 3 server not reached or out of
order, 4 login or access refused, 5 request refused (README.md says more)
END
    exit 0
}

# Arguments

argument= # what take_argument has found

take_argument() { # ARGUMENT: any option that a script does not know itself, or its only argument
    refuse_option "$1"
    [ -z "$argument" ] || wrong_usage "one argument is enough: '$1' is too many"
    [ -n "$1" ] || wrong_usage "an argument is empty"
    argument=$1
}

refuse_option() { # ARGUMENT
    case $1 in
        -h | --help) help ;;
        -*) wrong_usage "unknown option '$1'" ;;
    esac
}

value_of() { # OPTION VALUE…: checks that the value is there
    [ $# -ge 2 ] || wrong_usage "$1 needs a value"
}

need_id() { # WHAT VALUE
    [ -n "$2" ] || wrong_usage "which $1? Its id is missing"
    need_integer "the id of a $1" "$2"
}

need_integer() { # WHAT VALUE
    case $2 in
        '' | *[!0-9]* | ???????????????????*) wrong_usage "$1 is a number, not '$2'" ;;
    esac
}

confirm() { # QUESTION; the script has set $yes if --yes was given
    [ -z "$yes" ] || return 0
    [ -t 0 ] || wrong_usage "$1 Say --yes where nobody can be asked"
    printf '%s [y/N] ' "$1" >&2
    read -r reply || reply=
    case $reply in
        y | Y | yes | Yes) ;;
        *) fail 1 "nothing was changed" ;;
    esac
}

# Requests. The login goes to curl through a pipe (-K -) and is never on a command line.

for program in curl jq; do
    command -v "$program" >/dev/null || fail 2 "needs the program $program"
done

api=${TORC_API_URL:-http://localhost:8080/torc-service/v1}
api=${api%/}
case $api in
    */torc-service/v1) ;;
    *) api=$api/torc-service/v1 ;;
esac

in_quotes() { # VALUE: as a quoted value of curl's configuration
    printf '"%s"\n' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"
}

login() {
    if [ -n "${TORC_PASSWORD:-}" ]; then
        user=${TORC_USER:-${TORC_USERNAME:-${USER:-}}}
        [ -n "$user" ] || fail 2 "TORC_PASSWORD is set, TORC_USER is not"
        printf 'user = %s\n' "$(in_quotes "$user:$TORC_PASSWORD")"
    elif [ -n "${TORC_NETRC:-}" ]; then
        [ -r "$TORC_NETRC" ] || fail 2 "TORC_NETRC: cannot read $TORC_NETRC"
        printf 'netrc-file = %s\n' "$(in_quotes "$TORC_NETRC")"
    else
        echo netrc-optional
    fi
    if [ -n "${TORC_CACERT:-}" ]; then
        [ -r "$TORC_CACERT" ] || fail 2 "TORC_CACERT: cannot read $TORC_CACERT"
        printf 'cacert = %s\n' "$(in_quotes "$TORC_CACERT")"
    fi
}

connection=$(
    cat <<END
silent
show-error
globoff
connect-timeout = 10
header = "Accept: application/json"
header = "Content-Type: application/json"
END
    login
) || exit
timeout="max-time = ${TORC_TIMEOUT:-600}"

uri() { # VALUE: percent-encoded
    printf '%s' "$1" | jq -sRr @uri
}

torc_jq() { # jq that finds lib.jq
    # shellcheck disable=SC2154 # set by the script
    jq -L "$here" "$@"
}

call() { # METHOD PATH [BODY-FILE]: sends one request; the answer is in $tmp/answer. Ends the script if it is refused.
    {
        printf '%s\n%s\nrequest = "%s"\nurl = %s\n' "$connection" "$timeout" "$1" "$(in_quotes "$api$2")"
        printf 'output = %s\nwrite-out = "%%{http_code} %%{content_type}"\n' "$(in_quotes "$tmp/answer")"
        [ -z "${3:-}" ] || printf 'data-binary = %s\n' "$(in_quotes "@$3")"
    } | run_curl >"$tmp/code"
    check_answer "$(cat "$tmp/code")"
}

run_curl() { # reads curl's configuration; ends the script if the server is not reached
    curl -q "$@" -K - 2>"$tmp/error" || fail 3 "$api: $(sed -n '/^curl: /{s///p;q;}' "$tmp/error")"
}

check_answer() { # STATUS CONTENT-TYPE, in one word; $tmp/answer is a refusal unless it is 2xx
    case $1 in
        2??' application/json'*) return 0 ;;
        2??*) fail 3 "$api: the answer is not JSON; is that the address of a torc server?" ;;
    esac
    refused "${1%% *}" "$(jq -r '.error.message // .error.error // empty' "$tmp/answer" 2>/dev/null)"
}

refused() { # STATUS MESSAGE
    case $1 in
        401) fail 4 "the login was refused (401): check TORC_USER and TORC_PASSWORD, or the netrc file" ;;
        403 | 429) fail 4 "${2:-refused} ($1)" ;;
        4??) fail 5 "${2:-refused; is $api the address of a torc server?} ($1)" ;;
        *) fail 3 "$api: ${2:-the server is out of order} ($1)" ;;
    esac
}

call_many() { # FILE of lines {"method", "path", "body"}: sends them all over one connection or few
    # For each line one line {"status", "answer"} in $tmp/results, in the same order. Refusals do not end the script.
    rm -f "$tmp"/batch.*
    : >"$tmp/results"
    split -l 1000 -a 4 "$1" "$tmp/batch."
    for batch in "$tmp"/batch.*; do
        [ -e "$batch" ] || break
        api=$api connection="$connection
$timeout" jq -L "$here" -r 'include "lib"; curl_request' "$batch" | run_curl --fail-early >"$tmp/answers"
        torc_jq -cn 'include "lib"; answers' "$tmp/answers" >>"$tmp/results" 2>/dev/null ||
            fail 3 "$api: an answer is not JSON; is that the address of a torc server?"
    done
}

must_call_many() { # FILE: the same; the first refusal ends the script
    call_many "$1"
    must_be_fine "$tmp/results"
}

must_be_fine() { # FILE of lines {"status", "answer"}
    first=$(jq -rn 'first(inputs | select(.status >= 300)) | "\(.status) \(.answer.error.message)"' "$1")
    [ -z "$first" ] || refused "${first%% *}" "${first#* }"
}

get_many() { # reads paths, one per line; $tmp/results holds the answers, one per line
    jq -Rc '{method: "GET", path: .}' >"$tmp/paths"
    must_call_many "$tmp/paths"
    jq -c .answer "$tmp/results" >"$tmp/got"
    mv "$tmp/got" "$tmp/results"
}

page_size=${TORC_PAGE_SIZE:-10000}

list_all() { # PATH FILE: all items of a list, page by page, one per line
    offset=0
    more=true
    : >"$2"
    case $1 in
        *\?*) pages="$1&" ;;
        *) pages="$1?" ;;
    esac
    while [ "$more" = true ]; do
        call GET "${pages}limit=$page_size&offset=$offset"
        jq -c '.items[]' "$tmp/answer" >>"$2"
        more=$(jq .has_more "$tmp/answer")
        offset=$((offset + page_size))
    done
}

# What several scripts ask

jobs_of_nodes() { # NODE-FILE JOB-FILE: running jobs of the nodes, each with its node
    torc_jq -r '"/jobs?workflow_id=\(.workflow_id)&active_compute_node_id=\(.id)&status=running"' "$1" | get_many
    torc_jq -c --slurpfile nodes "$1" -n 'include "lib"; jobs_with_nodes($nodes)' "$tmp/results" >"$2"
}
