"""``fedasr privacy``: what noise protects, how much of it is needed, and what votes of teachers cost."""

from fedasr.cli.privacy import noise, price, votes
from fedasr.cli.privacy.options import app

__all__ = ["app", "noise", "price", "votes"]
