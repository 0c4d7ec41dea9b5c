#!/usr/bin/env bash
# Makes the storybook's editor from nothing: make.sh [RUNS]. On 2 CPU cores it takes about two hours; every step can be
# stopped and goes on where it was when the command is given again.
set -euo pipefail
runs=${1:-runs/storybook-edit}
limner stickers fetch
limner train sticker-reader --data stickers:readings --seed 1 --out "$runs/eyes" --steps 1500 --sample 0 --set steps=1500
limner train dalle-mini --data stickers:orders --out "$runs/planner" --steps 2548 --batch 64 --sample 0 \
    --set width=128 --set encoder_layers=3 --set decoder_layers=3 --set heads=4 --set glu_width=342 \
    --set learning_rate=0.001 --set warmup=200 --set ema=0.998 --set caption_drop=0
limner train retoucher --data stickers:retouches --out "$runs/retoucher" --steps 1874 --batch 8 --set steps=6000
python "$(dirname "$0")/assemble.py" "$runs" src/limner/weights/storybook-edit
