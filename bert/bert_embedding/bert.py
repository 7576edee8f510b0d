"""embedding.py under its first name, which seed 001 prints."""
import os
import runpy
import sys

if __name__ == '__main__':
    # with this folder on the path, `import bert` would find this file instead of the package
    folder = os.path.dirname(os.path.realpath(__file__))
    sys.path = [path for path in sys.path if os.path.realpath(path) != folder]
    runpy.run_module('bert.embedding', run_name='__main__')
