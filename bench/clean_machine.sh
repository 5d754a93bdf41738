#!/usr/bin/env bash
# `make demo` on a machine that has nothing: a minimal Debian by debootstrap in ROOT_FOLDER, with git and make as all that is added,
# and a fresh clone of this repository. Runs the demo twice, or the commands given, and says the seconds of each. Needs root,
# debootstrap and 3 GB. Usage: bench/clean_machine.sh ROOT_FOLDER [COMMAND…]
# SUITE names the release (bookworm), CLEAN_MACHINE_ENV more variables for the inside (NAME=VALUE …), such as a proxy.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
root=$1
shift
[ $# -gt 0 ] || set -- "make demo" "make demo"
source=$(cd "$(dirname "$0")/.." && pwd)
inside() {
    # shellcheck disable=SC2086
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 ${CLEAN_MACHINE_ENV:-} bash -uc "$1"
}
[ -d "$root/usr" ] || debootstrap --variant=minbase "${SUITE:-bookworm}" "$root" >/dev/null
for mount in proc dev; do mountpoint -q "$root/$mount" || mount --rbind --make-rslave "/$mount" "$root/$mount"; done
trap 'for mount in proc dev; do umount -lR "$root/$mount"; done' EXIT
inside 'command -v git make >/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends git make >/dev/null 2>&1; }'
[ -d "$root/root/pare" ] || git clone -q "$source" "$root/root/pare"
for command in "$@"; do
    begin=$SECONDS
    inside "cd /root/pare && $command" && code=0 || code=$?
    echo "$command: exit code $code after $((SECONDS - begin)) s"
done
