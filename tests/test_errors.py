"""The exit codes and error messages of scripts."""
import os
import pickle
import subprocess
import sys

import pytest

from bert.errors import UserError, did_you_mean, run_script


def exit_of(main, capsys):
    """(exit code, standard error) of a script with this `main`."""
    with pytest.raises(SystemExit) as error:
        run_script(main)
    return error.value.code, capsys.readouterr().err


def test_a_user_error_is_one_line_and_code_2(capsys):
    def main():
        raise UserError('train.tsv:7: label "x": expected one of 0, 1')
    assert exit_of(main, capsys) == (2, 'error: train.tsv:7: label "x": expected one of 0, 1\n')


def test_messages_are_one_line_of_bounded_length():
    error = UserError('a.csv: no column "x"; its columns are two\nlines\u2028\tof text')
    assert str(error) == 'a.csv: no column "x"; its columns are two lines \tof text'
    long_error = str(UserError('start ' + 'x' * 5000 + ' end'))
    assert len(long_error) < 1000 and long_error.startswith('start x') and \
        long_error.endswith('x end') and ' … ' in long_error


def test_a_list_of_problems_keeps_its_lines():
    assert str(UserError('no source:\n  one\n  two', is_list=True)).count('\n') == 2


def test_a_fix_ends_the_message_and_is_no_part_of_the_problem():
    error = UserError('prompt_name x: no prompts', fix='give --prompt')
    assert str(error) == 'prompt_name x: no prompts; give --prompt'
    assert error.problem == 'prompt_name x: no prompts'
    copy = pickle.loads(pickle.dumps(error))        # as a worker process sends it
    assert (str(copy), copy.problem) == (str(error), error.problem)
    assert UserError('a').problem == str(UserError('a')) == 'a'


def test_sigterm_removes_temporary_files(tmp_path):
    code = ('import time\nfrom bert import files\nfrom bert.errors import run_script\n'
            'def main():\n'
            '    with files.atomic_write("out") as out:\n'
            '        print("writing", flush=True)\n'
            '        time.sleep(60)\n'
            'run_script(main)')
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout.readline() == b'writing\n' and len(os.listdir(tmp_path)) == 1
    process.terminate()
    assert process.wait() == 143 and os.listdir(tmp_path) == []
    process.stdout.close()


def test_a_lack_of_memory_is_one_line():
    code = ('from bert.errors import run_script\n'
            'def main(): print("text"); raise MemoryError\n'
            'run_script(main)')
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (2, 'text\n')
    assert process.stderr == ('error: out of memory: free some memory, raise the limit (ulimit '
                              '-v), or use smaller batches\n')


def test_warnings_of_a_program_without_a_log_are_marked():
    code = ('import logging\nfrom bert.errors import run_script\n'
            'run_script(lambda: logging.getLogger("bert.x").warning("mind the gap"))')
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, 'WARNING: mind the gap\n')


def test_ctrl_c_is_code_130(capsys):
    def main():
        raise KeyboardInterrupt
    assert exit_of(main, capsys) == (130, 'interrupted\n')


def test_a_closed_pipe_is_no_error():
    code = ('from bert.errors import run_script\n'
            'def main():\n'
            '    for i in range(100000):\n'
            '        print("a line that fills the pipe", i)\n'
            'run_script(main)')
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stdout.readline() == b'a line that fills the pipe 0\n'
    process.stdout.close()
    assert process.stderr.read() == b''
    process.stderr.close()
    assert process.wait() == 141        # the code that a shell gives for SIGPIPE


@pytest.mark.parametrize('code', [None, 0, 3])
def test_the_process_exits_with_the_code_of_main(code, capsys):
    assert exit_of(lambda: code, capsys) == (code, '')


def test_other_errors_keep_their_trace():
    code = ('from bert.errors import run_script\n'
            'def main(): raise ValueError("a defect")\n'
            'run_script(main)')
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert process.returncode == 1
    assert 'Traceback' in process.stderr and 'ValueError: a defect' in process.stderr


@pytest.mark.parametrize('word,match', [('MRCP', 'MRPC'), ('mrpc', 'MRPC'), ('cola', 'CoLA'),
                                        ('CoLAA', 'CoLA')])
def test_did_you_mean(word, match):
    assert did_you_mean(word, ['CoLA', 'MRPC', 'QNLI']) == ' Did you mean "%s"?' % match


def test_did_you_mean_needs_a_close_match():
    assert did_you_mean('weather', ['CoLA', 'MRPC']) == ''
    assert did_you_mean('x', []) == ''
    assert did_you_mean('x', {'xy': 1}) == ' Did you mean "xy"?'      # any collection of names
