"""The Sticker World: picture-book scenes from openly licensed emoji, free, offline and exactly labelled.

`vocabulary` says what there is, `art` gets and rasterises the stickers, `backdrop` draws the places, `world`
composes and renders scenes, `captions` and `edits` put them into words, `kinds` serves them as training data and
folders. Everything is a pure function of `(seed, index)`.
"""
