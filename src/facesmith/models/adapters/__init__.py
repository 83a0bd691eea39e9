"""Low-rank adapters of frozen swappers: their files, their cards, and how they are merged into a model."""
