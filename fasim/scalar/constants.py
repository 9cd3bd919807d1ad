"""Numbers and codes that kernels of every compiled target share."""

from __future__ import annotations

import numpy as np

# in which order a register adds up products, see `fasim.kernels.accumulate`
ASCENDING, LANES, TREE = 0, 1, 2

# floor(sqrt(2) 2^63): its leading bits are those of the root of every odd power of two
ROOT_OF_TWO = np.uint64(13043817825332782212)

# of the softmax in whole numbers
LOG2_E = 47274  # / 2^15, as in NITI
FAR = -(1 << 40)  # any product of two different codes with LOG2_E, moved left, is already too far apart to count

# where the sizes of floats are counted: bin i has 2^(i - 64) <= |x| < 2^(i - 63)
FLOAT_OFFSET = 63
