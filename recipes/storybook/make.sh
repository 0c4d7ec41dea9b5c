#!/usr/bin/env bash
# Makes the storybook from nothing: make.sh [RUNS]. On 2 CPU cores it takes about two hours; every step can be stopped
# and goes on where it was when the command is given again.
set -euo pipefail
runs=${1:-runs/storybook}
limner stickers fetch
[ -d "$runs/codec" ] || limner stickers book --codes 8192 --scenes 5000 -o "$runs/codec"
limner train sticker-reader --data stickers:readings --out "$runs/reader" --steps 900 --sample 0 --set steps=900
limner train dalle-mini --data "written:$runs/codec" --out "$runs/planner" --steps 6000 --batch 32 --sample 0 \
    --set width=128 --set encoder_layers=2 --set decoder_layers=3 --set heads=4 --set glu_width=342 \
    --set learning_rate=0.001 --set warmup=200 --set ema=0.998
limner train layout-painter --data "plans:$runs/codec" --out "$runs/painter" --steps 500 --sample 0 --set steps=500 --set rate=0.004
limner train dual-encoder --data "lineups:$runs/codec" --out "$runs/judge" --steps 600 --batch 64 --sample 0
limner train upscaler --data "repairs:$runs/codec" --out "$runs/upscaler" --steps 700 --batch 8 --sample 100 --set steps=700
python "$(dirname "$0")/assemble.py" "$runs" src/limner/weights
python "$(dirname "$0")/measure.py"
