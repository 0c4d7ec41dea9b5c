#!/usr/bin/env bash
# Makes the storybook from nothing: make.sh [RUNS]. On 2 CPU cores it takes about four hours; every step can be stopped
# and goes on where it was when the command is given again.
set -euo pipefail
runs=${1:-runs/storybook}
limner stickers fetch
[ -d "$runs/codec" ] || limner stickers book --codes 8192 --scenes 5000 -o "$runs/codec"
[ -d "$runs/book" ] || limner stickers book --layers --codes 7168 --scenes 5000 -o "$runs/book"
limner train sticker-reader --data stickers:readings --out "$runs/reader" --steps 2000 --sample 0 --set steps=2000
limner train dalle-mini --data "written:$runs/book" --out "$runs/planner" --steps 5600 --batch 32 --sample 0 \
    --set width=128 --set encoder_layers=2 --set decoder_layers=3 --set heads=4 --set glu_width=342 \
    --set learning_rate=0.001 --set warmup=200 --set ema=0.998
limner train layout-painter --data "plans:$runs/book" --out "$runs/painter-1" --steps 900 --batch 32 --sample 0 \
    --set steps=900 --set rate=0.004
limner train layout-painter --data "plans:$runs/book" --out "$runs/painter-2" --start-from "$runs/painter-1" --seed 1 --steps 600 \
    --batch 32 --sample 0 --set steps=600 --set rate=0.0015
limner train layout-painter --data "plans:$runs/book" --out "$runs/painter-3" --start-from "$runs/painter-2" --seed 2 --steps 600 \
    --batch 32 --sample 0 --set steps=600 --set rate=0.002
limner train layout-painter --data "plans:$runs/book" --out "$runs/painter" --start-from "$runs/painter-3" --seed 3 --steps 450 \
    --batch 32 --sample 0 --set steps=450 --set rate=0.002
limner train dual-encoder --data "lineups:$runs/codec" --out "$runs/judge" --steps 2400 --batch 64 --sample 0
limner train upscaler --data "repairs:$runs/book" --out "$runs/upscaler" --steps 1500 --batch 16 --sample 250 --set steps=1500
# The two published ways, to be compared: words -> codes, words -> latents, for the same time each.
minutes=${COMPARE_MINUTES:-30}
limner train dalle-mini --data "codes:$runs/codec" --out "$runs/direct" --steps 1000000 --budget "$minutes" --batch 16 --sample 0 \
    --set width=256 --set encoder_layers=2 --set decoder_layers=4 --set heads=4 --set glu_width=684 \
    --set learning_rate=0.001 --set warmup=200 --set ema=0.998
limner train kl-autoencoder --data stickers:collages --out "$runs/autoencoder" --steps 1000000 --budget 25 --batch 4 --sample 500 \
    --set 'autoencoder={"widths":[32,32,64,128],"blocks":1,"channels":8}' --set crop=64 --set learning_rate=0.0008 \
    --set discriminator_start=1000000
limner train latent-diffusion --data "latents:$runs/autoencoder" --out "$runs/diffusion" --steps 1000000 --budget "$minutes" --batch 16 \
    --sample 500 --set 'text={"width":192,"depth":2,"heads":4,"hidden":768}' \
    --set 'unet={"widths":[64,128,256],"attention":[false,true,true],"blocks":1,"heads":4}' \
    --set learning_rate=0.0007 --set warmup=200 --set ema=0.998
python "$(dirname "$0")/assemble.py" "$runs" src/limner/weights
python "$(dirname "$0")/measure.py" --direct "$runs/direct" --diffusion "$runs/diffusion"
