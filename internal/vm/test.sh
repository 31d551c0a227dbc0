#!/bin/sh
# Runs every test of the virtual machines once, in two processes side by side, since an
# emulated processor keeps one of the host's busy: the matrix of boots, and the rest.
# Each process has a network namespace of its own. ARGS are further flags of go test.
set -u
cd "$(dirname "$0")/../.."
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
program=$logs/vm.test
${GO:-go} test -c -race -o "$program" ./internal/vm || exit 1
cd internal/vm
# shellcheck disable=SC2086 # ARGS are words
"$program" -test.run '^TestMatrix$' ${ARGS:-} >"$logs/matrix" 2>&1 &
matrix=$!
"$program" -test.skip '^TestMatrix$' ${ARGS:-} >"$logs/rest" 2>&1
rest=$?
wait "$matrix"
matrix=$?
cat "$logs/matrix" "$logs/rest"
[ "$matrix" -eq 0 ] && [ "$rest" -eq 0 ]
