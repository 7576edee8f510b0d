"""Log lines on the terminal and in a file."""
import logging
import re

import pytest

from bert.train.log import format_duration, open_log, progress_bar


@pytest.fixture
def root():
    """The root logger. Its handlers and level are restored afterwards."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    logger.handlers = []
    yield logger
    for handler in logger.handlers:
        handler.close()
    logger.handlers, logger.level = handlers, level


def test_lines_have_the_original_format_in_both_places(root, tmp_path, capsys):
    path = tmp_path / 'new' / 'log_MRPC.txt'
    open_log(str(path))
    logging.info('training steps=%d', 343)
    logging.warning('é')
    logging.debug('not shown')
    pattern = r'INFO:root:\d\d:\d\d:\d\d training steps=343\nWARNING:root:\d\d:\d\d:\d\d é\n'
    assert re.fullmatch(pattern, path.read_text(encoding='utf-8'))
    out, err = capsys.readouterr()
    assert re.fullmatch(pattern, err) and out == ''


def test_warnings_of_other_libraries_are_logged(root, capsys):
    open_log()
    logging.getLogger('httpx').info('HTTP Request: GET http://127.0.0.1/')
    logger = logging.getLogger('matplotlib.font_manager')
    logger.info('generated new fontManager')
    logger.warning('no font')
    assert re.fullmatch(r'WARNING:matplotlib.font_manager:\d\d:\d\d:\d\d no font\n',
                        capsys.readouterr().err)


def test_a_second_run_has_its_own_log_and_the_first_stays(root, tmp_path, capsys):
    first, second = tmp_path / 'a.txt', tmp_path / 'b.txt'
    for path in (first, second, first):
        open_log(str(path))
        logging.info('line')
    assert (first.read_text().count('line'), second.read_text().count('line')) == (2, 1)
    assert capsys.readouterr().err.count('line') == 3      # each once


def test_without_file(root, capsys):
    open_log()
    logging.info('line')
    assert capsys.readouterr().err.endswith(' line\n')


def test_no_bar_where_there_is_no_terminal(capsys):
    with progress_bar(10, 3) as bar:
        bar.update(1)
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('seconds,text', [
    (0.4, '0 s'), (59.4, '59 s'), (59.6, '1 min 0 s'), (185, '3 min 5 s'), (3599.7, '1 h 0 min'),
    (7800, '2 h 10 min'), (100000, '27 h 46 min')])
def test_duration(seconds, text):
    assert format_duration(seconds) == text
