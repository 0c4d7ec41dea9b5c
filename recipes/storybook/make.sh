#!/usr/bin/env bash
# Makes the storybook from nothing: make.sh [RUNS]. On 2 CPU cores it takes about two hours; every step can be stopped
# and goes on where it was when the command is given again.
set -euo pipefail
runs=${1:-runs/storybook}
limner stickers fetch
[ -d "$runs/book" ] || limner stickers book --codes 8192 --scenes 5000 -o "$runs/book"
limner train sticker-reader --data stickers:readings --out "$runs/reader" --steps 900 --sample 0 --set steps=900
limner train dalle-mini --data "codes:$runs/book" --out "$runs/painter" --steps 3000 --sample 250 \
    --set width=192 --set encoder_layers=2 --set decoder_layers=5 --set heads=6 --set glu_width=512 \
    --set learning_rate=0.001 --set warmup=200 --set ema=0.998
limner train dual-encoder --data "codes:$runs/book" --out "$runs/judge" --steps 1500 --batch 64 --sample 0
limner train upscaler --data "repairs:$runs/book" --out "$runs/upscaler" --steps 2500 --batch 16 --set steps=2500
python "$(dirname "$0")/assemble.py" "$runs" src/limner/weights
python "$(dirname "$0")/measure.py"
