"""embedding.py under its first name, which seed 001 prints."""
import os
import runpy
import sys

if __name__ == '__main__':
    # `bert` is the package, and this file would be found in its place
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path = [path for path in sys.path if os.path.realpath(path) != here]
    runpy.run_module('bert.embedding', run_name='__main__')
