"""The `--help` pages of many scripts, printed by one process."""
import json
import pathlib
import subprocess
import sys

# Runs each script as a user does: its folder comes first on the path.
PROGRAM = r'''
import contextlib, io, json, os, runpy, sys, traceback
missing_modules, *scripts = sys.argv[1:]
sys.modules.update(dict.fromkeys(missing_modules.split()))      # their import now fails
pages = {}
for script in scripts:
    sys.argv = [script, '--help']
    sys.path.insert(0, os.path.dirname(script))
    with contextlib.redirect_stdout(io.StringIO()) as page:
        try:
            runpy.run_path(script, run_name='__main__')
        except SystemExit as error:
            page.write('' if not error.code else 'exit status %s' % error.code)
        except BaseException:
            page.write(traceback.format_exc())
    del sys.path[0]
    pages[script] = page.getvalue()
print(json.dumps(pages))
'''


def help_pages(scripts, missing_modules=()):
    """{script: its page}. missing_modules: names of modules whose import fails meanwhile."""
    process = subprocess.run(
        [sys.executable, '-c', PROGRAM, ' '.join(missing_modules), *map(str, scripts)],
        capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return {pathlib.Path(script): page for script, page in json.loads(process.stdout).items()}
