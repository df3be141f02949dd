#!/usr/bin/env bash
# Requests a second over a socket, of an axum server with the layer and without. The client sends a session's cookie, and the
# handler does not touch the session. Needs wrk and curl.
#
# usage: wire.sh [RUNS [SECONDS]]
set -euo pipefail
runs=${1:-7} seconds=${2:-3}
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
servers=()

finish() {
    [ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

for tool in wrk curl; do
    command -v $tool >/dev/null || { echo "$tool is not installed: apt-get install $tool" >&2; exit 2; }
done

# Starts a server and sets `url` to its address.
start() {
    "$server" "$1" 0 >"$work/$1" &
    servers+=($!)
    for _ in $(seq 100); do
        url=$(sed -n 's/^listening on //p' "$work/$1")
        [ -z "$url" ] || return 0
        sleep 0.1
    done
    echo "the server does not start: $server $1" >&2
    exit 1
}

# Prints the requests a second of one run.
measure() {
    wrk --threads 1 --connections 32 --duration "$2s" --header "Cookie: theme=dark; $cookie" "$1/" >"$work/wrk"
    if grep -q 'Socket errors\|Non-2xx' "$work/wrk"; then
        cat "$work/wrk" >&2
        exit 1
    fi
    awk '/^Requests\/sec:/ { print $2 }' "$work/wrk"
}

median() {
    sort -n "$1" | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

cargo build --release --locked --quiet --manifest-path "$here/Cargo.toml" --bin wire
target=$(cargo metadata --format-version 1 --no-deps --locked --manifest-path "$here/Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
server=$target/release/wire

start --bare
bare=$url
start --layer
layer=$url
cookie=$(curl --silent --fail --include --request POST "$layer/login" |
    sed -n 's/^set-cookie: \([^;]*\).*/\1/Ip')
[ -n "$cookie" ] || { echo "the server sets no cookie" >&2; exit 1; }

measure "$bare" 1 >/dev/null
measure "$layer" 1 >/dev/null
for run in $(seq "$runs"); do
    # Each run begins with the other server.
    if [ $((run % 2)) = 0 ]; then
        measure "$bare" "$seconds" >>"$work/without"
        measure "$layer" "$seconds" >>"$work/with"
    else
        measure "$layer" "$seconds" >>"$work/with"
        measure "$bare" "$seconds" >>"$work/without"
    fi
done

awk -v with="$(median "$work/with")" -v without="$(median "$work/without")" -v runs="$runs" 'BEGIN {
    printf "| requests a second, median of %d runs | with the layer | ratio | bound | |\n|---|---|---|---|---|\n", runs
    printf "| %.0f without the layer | %.0f | %.3f | 0.95 | %s |\n", without, with, with / without, (with >= 0.95 * without ? "ok" : "missed")
}'
