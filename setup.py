"""Which packages an installation has: the folders beside ``fedasr`` become packages within it.

A user may have folders named ``strategies`` or ``clients``; an installed one would hide them, or they it.
"""

from setuptools import find_packages, setup

BESIDE = ("strategies", "clients", "simulations")

packages = find_packages(include=["fedasr", "fedasr.*"])
for folder in BESIDE:
    packages += [f"fedasr.{package}" for package in find_packages(include=[folder, f"{folder}.*"])]

setup(packages=packages, package_dir={f"fedasr.{folder}": folder for folder in BESIDE})
