"""Random token trees for hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from training.token_tree import TokenTree


@st.composite
def token_trees(draw: st.DrawFn, chains: int = 7, longest: int = 12) -> TokenTree:
    """Rows of trees of at most so many chains, each of which continues any earlier token or starts a tree."""
    lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=chains))
    starts = np.cumsum([0, *lengths[:-1]])
    parents = np.array([draw(st.integers(-1, int(start) - 1)) for start in starts])
    size = sum(lengths)
    return TokenTree(np.arange(size), starts, parents, np.arange(1, 1))
