# make install: a program of somebody else's finds the library by pkg-config, links and runs.
. "$(dirname "$0")/lib.sh"
cmake --install "$BUILD" --prefix "$work/prefix" >/dev/null || fail "cmake --install"
cat >"$work/user.c" <<'C'
#include <pare/compress.h>
#include <pare/eval.h>
#include <pare/lab.h>
#include <pare/law.h>
#include <pare/report.h>
#include <stdio.h>
int main(int argc, char **argv) {
    pare_error error;
    pare_checkpoint *checkpoint = argc > 1 ? pare_checkpoint_open(argv[1], &error) : NULL;
    if (!checkpoint)
        return 1;
    printf("%llu parameters\n", (unsigned long long)pare_checkpoint_size(checkpoint, NULL).parameters);
    pare_checkpoint_close(checkpoint);
    return pare_report_write(NULL, "no ledger", "no page", &error) ? 1 : 0;
}
C
export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig:$(find "$work/prefix" -name pkgconfig -type d | head -1)
if grep -q '^PARE_SANITIZE:[A-Z]*=.' "$BUILD/CMakeCache.txt"; then sanitize=-fsanitize=$(sed -n 's/^PARE_SANITIZE:[A-Z]*=//p' "$BUILD/CMakeCache.txt"); fi
compiler=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$BUILD/CMakeCache.txt")
# shellcheck disable=SC2046
"${compiler:-cc}" ${sanitize:-} "$work/user.c" -o "$work/user" $(pkg-config --cflags --libs pare) || fail "cannot link with pkg-config"
expect 0 'parameters' "$work/user" "$fixtures/qwen2"
sed -n '/^```c$/,/^```$/p' "$SOURCE/README.md" | grep -v '^```' >"$work/readme.c" # the README's example
# shellcheck disable=SC2046
"${compiler:-cc}" ${sanitize:-} "$work/readme.c" -o "$work/readme" $(pkg-config --cflags --libs pare) || fail "the README's example"
expect 0 'cross-entropy [0-9.]* nats' "$work/readme" "$fixtures/qwen2" "$SOURCE/LICENSE"
[ -s "$work/prefix/share/pare/tasks/piqa.yaml" ] || fail "the task files are not installed"
expect 0 'pare' "$work/prefix/bin/pare" --version
finish
