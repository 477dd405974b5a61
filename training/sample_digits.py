"""Writes the sample digits that relprop ships, from the 10,000 MNIST test digits.

python training/sample_digits.py --data ../shared/data/mnist_data --out sample_digits.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

# One test digit per class, 0 to 9, picked by eye: plainly written, except
# the 4, which the network nearly takes for a 9.
CHOSEN = [10, 5, 35, 30, 1453, 15, 22, 17, 61, 12]
LICENCE = "MNIST, Y. LeCun and C. Cortes, CC BY-SA 3.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of mnist_test10k.npz")
    parser.add_argument("--out", type=Path, default=Path("sample_digits.npz"))
    options = parser.parse_args()
    with np.load(options.data / "mnist_test10k.npz") as file:
        image, label = file["x"][CHOSEN], file["y"][CHOSEN]
    if label.tolist() != list(range(10)):
        raise SystemExit(f"not the expected test digits: their classes are {label.tolist()}")
    np.savez_compressed(
        options.out, image=image, label=label, test_index=np.array(CHOSEN), licence=LICENCE
    )


if __name__ == "__main__":
    main()
