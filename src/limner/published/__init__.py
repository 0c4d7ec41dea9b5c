"""Reading the weights that authors have released: for each repository its layout and its key map, as data."""
