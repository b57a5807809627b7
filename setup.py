"""
Compute the package list, which static metadata cannot do for a mapped layout.

``receivers/`` and ``exporters/`` stand at the top of the repository and install as ``meterline.receivers`` and
``meterline.exporters``. The two links under ``src/meterline`` serve static tools only and are skipped here.
"""

from setuptools import find_packages, setup

ROOTS = {"meterline": "src/meterline", "meterline.receivers": "receivers", "meterline.exporters": "exporters"}


def packages() -> list[str]:
    """
    List every package under each root, each exactly once, so that a new plugin folder can never be forgotten.
    """
    found: list[str] = []
    for name, folder in ROOTS.items():
        skip = [key.removeprefix(name + ".") for key in ROOTS if key.startswith(name + ".")]
        skip += [f"{entry}.*" for entry in skip]
        found += [name, *(f"{name}.{package}" for package in find_packages(folder, exclude=skip))]
    return found


setup(packages=packages(), package_dir=ROOTS)
