#!/bin/sh
# The report in a real browser: wide and narrow, light and dark, and with names that attack it.
set -eu

if [ $# -lt 1 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
    echo "usage: tests/report/pictures.sh REPORT_TEST_PROGRAM [FOLDER]"
    echo "Lets the test program make two reports, opens each with browser.sh, and leaves the pictures in FOLDER (default: nowhere)."
    echo "Example: tests/report/pictures.sh build/tests/report_test_report /tmp/pictures"
    [ $# -ge 1 ] && exit 0 || exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
pictures=${2:-$work}
mkdir -p "$pictures"

command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { echo "pictures.sh: skipped: chromium is not installed"; exit 77; }
PARE_KEEP_REPORT=$work/report.html PARE_KEEP_HOSTILE_REPORT=$work/hostile.html "$1" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$here/browser.sh" "$work/report.html" "$pictures/light.png" 1280 'theme=light'
"$here/browser.sh" "$work/report.html" "$pictures/dark.png" 1280 'theme=dark&form=v2&y=log&ratio=parameters'
"$here/browser.sh" "$work/report.html" "$pictures/phone.png" 390 'theme=dark'
"$here/browser.sh" "$work/hostile.html" "$pictures/hostile.png" 390 'theme=light'
