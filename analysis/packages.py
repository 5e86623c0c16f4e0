"""
Python packages that may be missing: said in one line, with the Debian package that provides them.

    h5py = packages.need('h5py')
"""
import importlib
import sys

DEBIAN = {'numpy': 'python3-numpy', 'h5py': 'python3-h5py', 'scipy': 'python3-scipy', 'yaml': 'python3-yaml',
          'matplotlib': 'python3-matplotlib', 'PIL': 'python3-pil'}


def need(module):
    """The module of this (dotted) name; ends the program where the package is missing."""
    package = module.partition('.')[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        if (e.name or '').partition('.')[0] != package:
            raise
        sys.exit(f'error: the Python package {package} is missing: apt-get install {DEBIAN[package]} '
                 f'(this is {sys.executable}; Debian\'s Python is /usr/bin/python3)')
