"""The methods that the report compares, each with what a newcomer should know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import relprop as rp


@dataclass(frozen=True)
class Explainer:
    """One way to explain a prediction.

    key names files and cells; question and text are HTML.
    """

    key: str
    title: str
    question: str
    text: str
    make: Callable[[rp.Model], Any]


SENSITIVITY = Explainer(
    "sensitivity",
    "Sensitivity",
    "Where would a touch change the score fastest?",
    """
    The squared slope of the score, <i>R<sub>i</sub></i> = (∂<i>f</i>/∂<i>x<sub>i</sub></i>)². This
    answers another question than the other columns: not <i>what made this a seven</i>, but <i>what
    would make it more or less of a seven</i>. An empty pixel far from the stroke can score high,
    because ink there would change the decision, although it contributed nothing to this one.
    Squares have no sign, so it cannot tell pixels that speak for the class from pixels that speak
    against it, and their sum is the squared length of the gradient, which has nothing to do with
    <i>f</i>(<i>x</i>). The scattered pictures are not a defect of this network: slopes vary from
    pixel to pixel far more than the function does. """,
    rp.Sensitivity,
)

ALPHA1_BETA0 = Explainer(
    "alpha1_beta0",
    "LRP α1β0",
    "What spoke for the class?",
    """
    Relevance propagation with positive contributions only. Each neuron hands what it received to
    the inputs that excited it, in proportion to how much they did; inputs that held it back get
    nothing. Nothing negative can arise from a positive score, so the picture is all red: calm,
    close to the stroke, easy to read. It is the rule that deep Taylor decomposition derives for
    ReLU layers. The price: it cannot show what spoke <i>against</i> the class, and the same stroke
    lights up almost alike whichever class you ask about. """,
    lambda model: rp.LRP(model, rp.AlphaBeta(1, 0)),
)

ALPHA2_BETA1 = Explainer(
    "alpha2_beta1",
    "LRP α2β1",
    "What spoke for it, less what spoke against it?",
    """
    Now α = 2 shares go to the inputs that excited a neuron, and β = 1 share is taken back from
    those that inhibited it. Because α − β = 1, a neuron that has both still gives away what it
    received, but the picture gains a second colour: blue marks counter-evidence. Where excitation
    and inhibition meet on one pixel they cancel, so heatmaps become sparser and crisper, with
    single pixels of opposite sign side by side along the edges of the stroke. """,
    lambda model: rp.LRP(model, rp.AlphaBeta(2, 1)),
)

ALPHA3_BETA2 = Explainer(
    "alpha3_beta2",
    "LRP α3β2",
    "And if counter-evidence counted twice?",
    """
    One step further: three shares out, two taken back. To keep one unit of relevance, each layer
    now moves five. The same evidence is shown at a higher contrast, but what is left on a pixel is
    a small difference between large amounts: red and blue alternate, and whatever a layer cannot
    hand back (see <a href="#conservation">conservation</a>) is blown up by the layers behind it.
    This is why α matters, and why it should stay small: 1 for a calm overview, 2 where
    counter-evidence is the question. """,
    lambda model: rp.LRP(model, rp.AlphaBeta(3, 2)),
)

COMPOSITE = Explainer(
    "epsilon_plus_flat",
    "LRP composite",
    "Which strokes, for and against?",
    """
    The best rule depends on the depth, so a composite takes one for each part; this one is called
    <code>epsilon_plus_flat</code>. In the dense layers at the top, where classes compete, the
    ε-rule splits relevance just as the score was computed, counter-evidence included. In the
    convolutions, α1β0 keeps the flow calm. In the first layer, a window of 3 × 3 pixels gets equal
    shares, because a single pixel of a stroke means nothing by itself. The result is smooth and
    still has two colours: look at the 4. """,
    lambda model: rp.LRP(model, "epsilon_plus_flat"),
)

EXPLAINERS = (SENSITIVITY, ALPHA1_BETA0, ALPHA2_BETA1, ALPHA3_BETA2, COMPOSITE)
# Those that hand a score back, and so have sums to be compared with it.
PROPAGATING = (ALPHA1_BETA0, ALPHA2_BETA1, ALPHA3_BETA2, COMPOSITE)
