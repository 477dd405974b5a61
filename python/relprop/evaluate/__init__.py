"""How faithful explanations are: what the network loses with the pixels that they point at.

Pixel flipping (Bach et al. 2015, section 4.2; Samek et al. 2017, "Evaluating the visualization of
what a deep neural network has learned") removes the most relevant pixels first and watches the
output fall. Selectivity and continuity are those of Montavon, Samek, Müller 2017, section 5.

Example::

    methods = {"alpha2_beta1": rp.LRP(net, "alpha2_beta1"), "sensitivity": rp.Sensitivity(net)}
    report = rp.evaluate.compare(net, x, methods, fraction=0.2)
    print(report)
    report.draw("curves.png")
"""

from relprop.evaluate._compare import Report, Row, compare
from relprop.evaluate._continuity import continuity
from relprop.evaluate._flipping import Curve, pixel_flipping, selectivity

__all__ = ["Curve", "Report", "Row", "compare", "continuity", "pixel_flipping", "selectivity"]
