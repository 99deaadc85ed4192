#!/bin/sh
# Builds our programs as static executables: init, ironbayd, ironbay, the Terraform provider. Prints where they are;
# `--print NAME` prints one path. The builder of the image says with which flags, so that all users share one build.
set -eu
cd "$(dirname "$0")/.."
exec cargo run --release --locked -q -p image -- binaries "$@"
