#!/usr/bin/env bash
# Makes the small stage and its curves from nothing: make.sh [RUNS]. Some six hours of one CPU core; it can be stopped at any
# time, and the same command goes on.
set -euo pipefail
export RUNS=${1:-runs/edits}
limner stickers fetch
python "$(dirname "$0")/curves.py"
