#!/usr/bin/env bash
# Keeps openapi.yaml, and the clients made from it, in step with the server. See README.md in this folder.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
published=$root/openapi/openapi.yaml
emitted=$root/openapi/openapi.codegen.yaml

usage="usage: sync_openapi.sh COMMAND [FLAG]...

commands
  emit      write what the server emits to openapi.codegen.yaml
  check     fail if openapi.yaml is not what the server emits
  promote   write what the server emits to openapi.yaml
  clients   make the Python, Rust and Julia clients in build/clients
  all       emit, check, clients; with --promote: emit, promote, check, clients from openapi.yaml

flags
  --promote            see all
  --use-emitted-spec   make the clients from what the server emits, not from openapi.yaml (alias: --use-rust-spec)
  --spec PATH          make the clients from that document"

main() {
    command=${1-}
    promote='' use_emitted='' spec=''
    shift || fail "no command" "$usage"
    while (($#)); do
        case $1 in
        --promote) promote=yes ;;
        --use-emitted-spec | --use-rust-spec) use_emitted=yes ;;
        --spec)
            [[ -n ${2-} && $2 != --* ]] || fail "--spec needs a path" "$usage"
            spec=$2
            shift
            ;;
        *) fail "unknown flag: $1" "$usage" ;;
        esac
        shift
    done
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    case $command in
    emit | check | promote) "$command" ;;
    clients)
        [[ -n $spec || -z $use_emitted ]] || emit
        clients "$(chosen)"
        ;;
    all)
        emit
        if [[ -n $promote ]]; then
            promote
            check
            clients "$published"
        else
            check
            clients "$(chosen)"
        fi
        ;;
    *) fail "unknown command: $command" "$usage" ;;
    esac
}

emit() { write_emission "$emitted"; }

promote() { write_emission "$published"; }

check() {
    [[ -f $published ]] || fail "$published does not exist; the command promote writes it"
    emission >"$temporary/emission.yaml"
    cmp -s "$published" "$temporary/emission.yaml" && return
    diff -u --label "openapi.yaml" --label "what the server emits" "$published" "$temporary/emission.yaml" || true
    fail "openapi.yaml is not what the server emits; the command promote makes it so"
}

# clients DOCUMENT
clients() {
    local document=$1 version language
    [[ -f $document ]] || fail "$document does not exist"
    version=$(version_of "$document")
    [[ -n $version ]] || fail "$document has no info.version"
    for language in python rust julia; do
        generate "$document" "$version" "$language" "$root/build/clients/$language"
    done
    # The generator for Julia knows no package version.
    sed -i "s/^uuid = .*/&\nversion = \"$version\"/" "$root/build/clients/julia/Project.toml"
}

chosen() {
    if [[ -n $spec ]]; then
        echo "$spec"
    elif [[ -n $use_emitted ]]; then
        echo "$emitted"
    else
        echo "$published"
    fi
}

# generate DOCUMENT VERSION LANGUAGE FOLDER. What the generator says is shown if it fails or reports an error.
generate() {
    local program log=$temporary/$3.log
    program=$(find_program openapi-generator-cli)
    rm -rf "$4"
    mkdir -p "$4"
    cp "$root/openapi/clients/.openapi-generator-ignore" "$4"
    if ! "$program" generate -i "$1" -c "$root/openapi/clients/$3.yaml" -o "$4" \
        --additional-properties "packageVersion=$2" >"$log" 2>&1 || grep -q '^\[main\] ERROR' "$log"; then
        cat "$log" >&2
        fail "the $3 client could not be made from $1"
    fi
    echo "$4"
}

# The version in the section info of a document, YAML or JSON, with one key a line.
version_of() {
    sed -nE '/^(info| *"info"):/,$ { /^ +"?version"?: *["'\'']?([0-9A-Za-z.+-]+).*/ { s//\1/p; q; }; }' "$1"
}

# What the server emits goes to a file only when all of it is there.
write_emission() {
    emission >"$temporary/emission.yaml"
    cp "$temporary/emission.yaml" "$1"
    echo "$1"
}

emission() {
    local program
    program=$(find_program torc-server)
    "$program" openapi
}

# find_program NAME: that of this checkout, else that on the PATH.
find_program() {
    if [[ -x $root/.venv/bin/$1 ]]; then
        echo "$root/.venv/bin/$1"
    else
        command -v "$1" || fail "$1 is neither in .venv nor on the PATH; make openapi and make clients install what they need"
    fi
}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

main "$@"
