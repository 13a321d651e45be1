"""Labels that a model makes: what it hears, which of it is learnt, and how that moves over the rounds.

Devices label their own speech with it (``clients/own_labels.py``), and the student of PATE labels public speech
(``strategies/pate/self_training.py``).
"""

from fedasr.training.self_labels.choosing import chosen
from fedasr.training.self_labels.hearing import Hypotheses, hear
from fedasr.training.self_labels.stages import Stage, moved, stage_of

__all__ = ["Hypotheses", "Stage", "chosen", "hear", "moved", "stage_of"]
