"""Is it the published system? Our networks, filled with known numbers, against what the published ones returned.

A record says how a published network was built, what its state dict holds, what went in and what came out.
`python -m limner.parity RECORD.json ...` builds ours by the record's options, takes the published state, filled by
`fill.py`, through the key map that also opens the published checkpoints, and compares every recorded number.

A system's module here has a table `NETWORKS`, from the record's `network` to a `Network`.
"""

SYSTEMS = {
    "adain": "limner.parity.adain",
    "bicyclegan": "limner.parity.bicyclegan",
    "cyclegan": "limner.parity.cyclegan",
    "dalle-mini": "limner.parity.dalle_mini",
    "ddim-inversion": "limner.parity.ddim_inversion",
    "drit": "limner.parity.drit",
    "edit-dataset": "limner.parity.edit_dataset",
    "edit-metrics": "limner.parity.edit_metrics",
    "feature-networks": "limner.parity.feature_networks",
    "gcgan": "limner.parity.gcgan",
    "instruct-pix2pix": "limner.parity.instruct_pix2pix",
    "instruction-editing-frontier": "limner.parity.instruction_editing_frontier",
    "latent-diffusion": "limner.parity.latent_diffusion",
    "msgan": "limner.parity.msgan",
    "munit": "limner.parity.munit",
    "pg2": "limner.parity.pg2",
    "pix2pix": "limner.parity.pix2pix",
    "pix2pixhd": "limner.parity.pix2pixhd",
    "pixel-domain-transfer": "limner.parity.pixel_domain_transfer",
    "prompt-to-prompt": "limner.parity.prompt_to_prompt",
    "rfr-inpainting": "limner.parity.rfr_inpainting",
    "sdedit": "limner.parity.sdedit",
    "sean": "limner.parity.sean",
    "spade": "limner.parity.spade",
    "text2live": "limner.parity.text2live",
    "unit": "limner.parity.unit",
}
