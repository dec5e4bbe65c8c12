"""The colours and markers of all pictures: told apart with any colour vision, on white and black.

Those of the shot groups mean the same wherever a group is drawn.
"""

from types import MappingProxyType

# Okabe & Ito's colours for kinds of no order; their yellow is lost on white.
KINDS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# Three of them that have three times the luminance of black and a third of that of white.
SHOTS = MappingProxyType(
    {"all": "#707070", "many": "#0072B2", "medium": "#009E73", "few": "#D55E00"}
)
# Of matplotlib, for those who see no colours.
MARKERS = MappingProxyType({"many": "o", "medium": "s", "few": "^"})
# Of words: as they are, and where something is wrong.
INK, WRONG = "#1A1A1A", "#A83A00"
