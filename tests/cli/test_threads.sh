# How many threads there are by default, and that they sleep while they wait.
. "$(dirname "$0")/lib.sh"
text=$SOURCE/tests/eval/fixtures/text.txt
unset GOMP_SPINCOUNT KMP_BLOCKTIME OMP_WAIT_POLICY
evaluate() { "$PARE" eval "$fixtures/llama3" --text "$text" --protocol joined48 --windows 1 --json "$@"; }

# the OpenMP library tells its settings at its start: behind the last start the wait is short
export OMP_DISPLAY_ENV=VERBOSE
expect 0 "GOMP_SPINCOUNT *= *'4000'|KMP_BLOCKTIME *= *'1" evaluate --threads 2
spins=$(grep -cE "GOMP_SPINCOUNT|KMP_BLOCKTIME" "$work/stderr")
expect 0 '' evaluate --threads 1 # one thread waits for nobody: no second start
[ "$(grep -cE "GOMP_SPINCOUNT|KMP_BLOCKTIME" "$work/stderr")" -lt "$spins" ] || fail "one thread: the program started twice"
OMP_WAIT_POLICY=active expect 0 '' evaluate --threads 2
grep -qE "GOMP_SPINCOUNT *= *'4000'|KMP_BLOCKTIME *= *'1'" "$work/stderr" && fail "OMP_WAIT_POLICY is overruled"
unset OMP_DISPLAY_ENV

# affinity, and the quota of a control group where one can be made
one=$(python3 -c 'import os; print(min(os.sched_getaffinity(0)))')
expect 0 '' taskset -c "$one" "$PARE" eval "$fixtures/llama3" --text "$text" --protocol joined48 --windows 1 --json
[ "$(json threads)" = 1 ] || fail "one processor, $(json threads) threads"
finish
