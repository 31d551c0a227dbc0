#!/bin/sh
# Repeats the virtual-machine boots, each round in a fresh namespace, and prints how
# many rounds passed. N says how often; RUN narrows the boots by name, as in
# RUN=TestMatrix/proxy or RUN='TestBootRoot/nbd$'. With PXEKIT_VM_CAPTURE=DIR the
# packets of boots that failed are kept there.
set -u
cd "$(dirname "$0")/../.."
n=${N:-5}
passed=0
for i in $(seq "$n"); do
	if ${GO:-go} test -count=1 -timeout 90m -run "${RUN:-Boot|Matrix|Live}" -v ./internal/vm >"${TMPDIR:-/tmp}/pxekit-soak.log" 2>&1 &&
		! grep -q '^ *--- SKIP' "${TMPDIR:-/tmp}/pxekit-soak.log"; then
		passed=$((passed + 1))
	else
		echo "round $i failed:"
		cat "${TMPDIR:-/tmp}/pxekit-soak.log"
	fi
	grep -E '^ +--- (PASS|FAIL|SKIP)' "${TMPDIR:-/tmp}/pxekit-soak.log"
	echo "round $i of $n: $passed passed"
done
echo "$passed of $n rounds passed"
[ "$passed" -eq "$n" ]
