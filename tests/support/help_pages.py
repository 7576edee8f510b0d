"""What `--help` of many scripts prints, by one process for all of them."""
import json
import pathlib
import subprocess
import sys

# Runs each script as a user does, with its folder first on the path.
PROGRAM = r'''
import contextlib, io, json, os, runpy, sys, traceback
without, *scripts = sys.argv[1:]
sys.modules.update(dict.fromkeys(without.split()))      # importing them now fails
pages = {}
for script in scripts:
    sys.argv = [script, '--help']
    sys.path.insert(0, os.path.dirname(script))
    with contextlib.redirect_stdout(io.StringIO()) as page:
        try:
            runpy.run_path(script, run_name='__main__')
        except SystemExit as end:
            page.write('' if not end.code else 'exit status %s' % end.code)
        except BaseException:
            page.write(traceback.format_exc())
    del sys.path[0]
    pages[script] = page.getvalue()
print(json.dumps(pages))
'''


def help_pages(scripts, without=()):
    """{script: what it prints}. without: names of modules that can't be imported meanwhile."""
    done = subprocess.run([sys.executable, '-c', PROGRAM, ' '.join(without), *map(str, scripts)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {pathlib.Path(script): page for script, page in json.loads(done.stdout).items()}
