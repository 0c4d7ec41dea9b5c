#!/usr/bin/env bash
# Style transfer and inpainting between the photographs that scikit-image and scikit-learn bring along: make.sh [RUNS].
# Trains an encoder, AdaIN and RFR from nothing (about forty minutes on one CPU core), and measures them on a photograph that
# none of them has seen. Every step can be stopped and goes on where it was when the command is given again.
set -euo pipefail
runs=${1:-runs/photographs}
here=$(dirname "$0")
python "$here/photographs.py" "$runs"
python "$here/encoder.py" "$runs/encoder" "$runs/begun"
limner train adain --data "$runs/styles" --out "$runs/adain" --start-from "$runs/begun" --steps 1200 --batch 4 --sample 400 \
    --set width=16 --set style=0.2 --set learning_rate=0.0005 --prepare resize=null --prepare crop=96
limner train rfr-inpainting --data "$runs/holes" --out "$runs/rfr" --steps 900 --batch 8 --sample 300 \
    --set width=16 --set kernel=5 --set iterations=4 --set learning_rate=0.001 --set finetune=600 --set finetune_rate=0.0002 \
    --prepare resize=null --prepare crop=64
python "$here/measure.py" "$runs"
