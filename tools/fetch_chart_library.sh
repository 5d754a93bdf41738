#!/bin/sh
# Fetches the report's chart library: plotly.js (MIT) out of the PyPI wheel `plotly`, pinned by version and SHA-256,
# into .cache/pare/ of the source folder, where cmake/report.cmake finds it. Does nothing when it is there already.
set -eu

version=6.9.0
wheel_sha256=36bebe2f1bb13884774fe61689c329071446f6ce4a8927fb1f0d6fb24f581236
script_sha256=8ef4c6ab1369f0019611cbcd2d5b8aafef23e5d19ef58c39d4b4249831fe2180

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    echo "usage: tools/fetch_chart_library.sh"
    echo "Fetches plotly.js from the PyPI wheel plotly $version (about 10 MB) by pip, checks its SHA-256, and puts"
    echo "plotly.min.js and its licence into .cache/pare/. Needs python3 with pip. A second call does nothing."
    exit 0
fi
[ $# -eq 0 ] || { echo "fetch_chart_library.sh: takes no argument; see --help" >&2; exit 2; }

cache=$(cd "$(dirname "$0")/.." && pwd)/.cache/pare

is() { # file sha256
    [ -f "$1" ] && echo "$2  $1" | sha256sum --check --status
}

if is "$cache/plotly.min.js" $script_sha256 && [ -s "$cache/plotly.license.txt" ]; then
    echo "chart library: plotly.js is there already ($cache)"
    exit 0
fi

mkdir -p "$cache"
echo '*' >"$cache/.gitignore"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
echo "chart library: fetching plotly $version by pip"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" "plotly==$version"
wheel=$work/plotly-$version-py3-none-any.whl
if ! is "$wheel" $wheel_sha256; then
    echo "fetch_chart_library.sh: plotly $version does not have the SHA-256 that is expected ($wheel_sha256)" >&2
    exit 1
fi
python3 -m zipfile -e "$wheel" "$work/wheel"
if ! is "$work/wheel/plotly/package_data/plotly.min.js" $script_sha256; then
    echo "fetch_chart_library.sh: plotly.min.js does not have the SHA-256 that is expected ($script_sha256)" >&2
    exit 1
fi
mv "$work/wheel/plotly-$version.dist-info/licenses/LICENSE.txt" "$cache/plotly.license.txt"
mv "$work/wheel/plotly/package_data/plotly.min.js" "$cache/plotly.min.js"
echo "chart library: plotly.js from plotly $version in $cache"
