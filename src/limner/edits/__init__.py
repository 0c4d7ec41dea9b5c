"""The data factory of editing by instruction: captions, triplets, pairs of pictures, a filter, shards.

Brooks, "Image generation from layouts, text and instructions" (2023), sections 4.3.1 and 4.4.1 to 4.4.2; the layout on
disk is the one that timothybrooks/instruct-pix2pix reads and writes. Every unit of work is a function of (job seed,
index): it can be done, or done again, anywhere and in any order.
"""
