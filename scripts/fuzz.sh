#!/bin/bash
# Looks for inputs that break a parser of foreign bytes (make fuzz). Usage: fuzz.sh MINUTES [TARGET]
#
# Runs the libFuzzer binaries of appliance/fuzz/libfuzzer one after the other, each for MINUTES, on one processor. New inputs are
# collected below out/fuzz; inputs that break something stay in out/fuzz/found, and each is a test: copy it to
# appliance/fuzz/corpus/TARGET, where `cargo test -p fuzz` replays it. With KEEP=1 the smallest set of inputs that reaches
# every place that any of them does is written to appliance/fuzz/corpus at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-30}
surfaces=(appliance/fuzz/libfuzzer/targets/*.rs)
surfaces=("${surfaces[@]##*/}")
surfaces=("${surfaces[@]%.rs}")
[ -z "${2:-}" ] || surfaces=("$2")

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: cargo-fuzz is missing: installing it"
    cargo install cargo-fuzz --locked
fi
# libFuzzer's instrumentation is an unstable flag of the stable compiler that this project uses. No sanitizer: there is no
# unsafe code in these crates.
export RUSTC_BOOTSTRAP=1
directory=appliance/fuzz/libfuzzer
cargo fuzz build --fuzz-dir "$directory" --release --sanitizer none
host=$(rustc -vV | sed -n 's/^host: //p')
target_directory=$(cargo metadata --format-version 1 --no-deps --manifest-path "$directory/Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
mkdir -p out/fuzz/found
found=0
for surface in "${surfaces[@]}"; do
    binary="$target_directory/$host/release/$surface"
    mkdir -p "out/fuzz/$surface"
    echo "fuzz: $surface for $minutes minutes"
    # Long inputs say little that short ones do not; a hung input is a finding, and so is one that needs much memory.
    nice "$binary" "out/fuzz/$surface" "appliance/fuzz/corpus/$surface" -max_total_time=$((minutes * 60)) \
        -max_len=4096 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1 \
        -artifact_prefix="out/fuzz/found/$surface-" || found=1
    if [ -n "${KEEP:-}" ]; then
        rm -rf "out/fuzz/$surface.smallest" && mkdir "out/fuzz/$surface.smallest"
        "$binary" -use_counters=0 -set_cover_merge=1 "out/fuzz/$surface.smallest" "appliance/fuzz/corpus/$surface" "out/fuzz/$surface"
        rm -rf "appliance/fuzz/corpus/$surface" && cp -r "out/fuzz/$surface.smallest" "appliance/fuzz/corpus/$surface"
    fi
done
if [ "$found" -ne 0 ]; then
    echo "fuzz: something was found: see out/fuzz/found"
    exit 1
fi
echo "fuzz: nothing was found"
