#!/usr/bin/env bash
# `make demo` on a machine that has nothing: a minimal Debian made by debootstrap in ROOT_FOLDER, with git and make as all that is
# added, and a fresh clone of this repository. Runs the demo twice; each part says its seconds. Needs root, debootstrap and 3 GB.
# Usage: bench/clean_machine.sh ROOT_FOLDER [SUITE]
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
root=$1 suite=${2:-bookworm}
source=$(cd "$(dirname "$0")/.." && pwd)
inside() {
    chroot "$root" /usr/bin/env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 ${CLEAN_MACHINE_ENV:-} bash -euc "$1"
}
[ -d "$root/usr" ] || debootstrap --variant=minbase "$suite" "$root" >/dev/null
for mount in proc dev; do mountpoint -q "$root/$mount" || mount --rbind "/$mount" "$root/$mount"; done
trap 'for mount in proc dev; do umount -lR "$root/$mount"; done' EXIT
inside 'apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends git make >/dev/null'
[ -d "$root/root/pare" ] || git clone -q "$source" "$root/root/pare"
for run in first second; do
    begin=$SECONDS
    inside 'cd /root/pare && make demo'
    echo "$run run: $((SECONDS - begin)) s"
done
