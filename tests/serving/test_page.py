"""The page of the server in a browser: what it shows is what the server answers."""
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from support import browser as browsers
from support import servers, tiny

pytestmark = pytest.mark.browser

# what shells, HTML, JSON and UTF-16 have their own ideas of
NASTY = 'It\'s <b>"so"</b> $HOME `id` \\n 100% !\nthe film\t电影 😀 \u202e was good'
LONG = 'good ' * 60
KEY = 'schlüssel 1'


@pytest.fixture(scope='module')
def chromium():
    with browsers.running_browser() as browser:
        yield browser


@pytest.fixture
def open_page(chromium):
    """Function (url, options of the context) → `ModelPage`. At the end, no page may have failed or
    asked another host."""
    pages = []

    def make(url, **options):
        options.setdefault('permissions', ['clipboard-read', 'clipboard-write'])
        page = browsers.ModelPage(chromium.new_context(**options), url)
        pages.append(page)
        return page
    yield make
    for page in pages:
        page.page.context.close()
        assert not page.failures
        assert all(url.startswith(page.url + '/') for url in page.requests), page.requests


@pytest.fixture
def page(open_page, server):
    return open_page(server.url)


@pytest.fixture(scope='module')
def locked(tmp_path_factory):
    """A server that asks for a key, with a model that prefers to give no answer."""
    folder = tmp_path_factory.mktemp('locked')
    model = tiny.write_question_answerer(folder / 'reader')
    (folder / 'reader' / 'task.json').write_text(json.dumps({
        'name': 'SQuAD 2', 'version_2': True, 'doc_stride': 10, 'max_query_length': 20,
        'n_best_size': 20, 'max_answer_length': 30, 'null_score_diff_threshold': -50.0,
        'max_len': 40}))
    (folder / 'keys').write_text('another\n%s\n' % KEY, encoding='utf-8')
    with servers.running_server((model,), api_key_file=str(folder / 'keys')) as running:
        yield running


def close(expected):
    return pytest.approx(expected, abs=1e-6)


# ---- what each kind shows

@pytest.mark.parametrize('name', servers.KINDS)
def test_one_click_shows_a_result_also_on_a_narrow_screen(open_page, server, name):
    page = open_page(server.url, viewport={'width': 360, 'height': 640}, color_scheme='dark')
    page.open(name)
    page.submit()
    assert not page.alert
    assert page.texts('h3') == ['Result'] and page.result.locator('.verdict, .text').count()
    assert re.fullmatch(r'Done in (\d+ ms|less than 1 ms) on the server. [1-9]\d* tokens read.',
                        page.status)
    assert page.page.evaluate('document.documentElement.scrollWidth') == 360


# The lowest ratio of the luminance of a text to that of its ground, and the text; as in WCAG 2
CONTRAST = """() => {
  const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const luminance = (...colours) => {
    for (const colour of colours) {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)]
      .map(value => value / 255)
      .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const grounds = element => element === null ? [] : [
    ...grounds(element.parentElement), getComputedStyle(element).backgroundColor];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !element.checkVisibility()) continue;
    const ground = luminance(...grounds(element));
    const colour = luminance(...grounds(element), getComputedStyle(element).color);
    found.push([(Math.max(ground, colour) + 0.05) / (Math.min(ground, colour) + 0.05), text]);
  }
  return [found.length, ...found.sort((one, other) => one[0] - other[0])[0]];
}"""


@pytest.mark.parametrize('colours', ['light', 'dark'])
def test_every_text_stands_out_from_its_ground(open_page, server, colours):
    page = open_page(server.url, color_scheme=colours)
    for name in servers.KINDS:
        page.open(name)
        page.submit()
        count, contrast, text = page.page.evaluate(CONTRAST)
        assert count > 20 and contrast >= 4.5, text
    assert page.page.evaluate('getComputedStyle(document.body).backgroundColor') == {
        'light': 'rgb(245, 246, 248)', 'dark': 'rgb(19, 22, 27)'}[colours]


@pytest.mark.parametrize('texts', [['the film was good'], ['the film', 'it was bad']])
def test_classification(page, server, texts):
    expected = server.ask('/predict', {'model': 'classes', 'inputs': [texts]})[0]
    page.open('classes')
    page.fill(**dict(zip(('text', 'second'), texts)))
    page.submit()
    assert page.texts('tbody th') == [item['label'] for item in expected]
    assert page.numbers('td data') == close([item['score'] for item in expected])
    assert page.texts('td data') == ['%.1f%%' % (100 * item['score']) for item in expected]
    assert page.texts('.verdict strong') == [expected[0]['label']]
    widths = [row.evaluate('bar => bar.offsetWidth / bar.parentNode.offsetWidth')
              for row in page.result.locator('.fill').all()]
    assert widths == pytest.approx([item['score'] for item in expected], abs=0.02)


def test_several_labels(page, server):
    expected = server.ask('/predict', {'model': 'labels', 'inputs': 'the film was good'})
    fitting = [item['label'] for item in expected if item['score'] > 0.5]
    assert 0 < len(fitting) < len(expected), 'the test needs both'
    page.open('labels')
    page.fill(text='the film was good')
    page.submit()
    assert page.numbers('td data') == close([item['score'] for item in expected])
    assert page.texts('tbody th') == [
        item['label'] + (' fits' if item['label'] in fitting else '') for item in expected]
    assert page.texts('.verdict strong') == [', '.join(fitting)]


def test_regression(page, server):
    expected, = server.ask('/predict', {'model': 'scores', 'inputs': 'the film was good'})
    page.open('scores')
    page.fill(text='the film was good')
    page.submit()
    assert page.numbers() == close([expected['score']])


def test_vectors(page, server):
    texts = ['the film was good', 'bad plot', 'so very awful']
    answer = server.ask('/v1/embeddings', {'model': 'vectors', 'input': texts})
    vectors = np.array([item['embedding'] for item in answer['data']])
    page.open('vectors')
    page.fill(texts='%s\n\n%s\n%s\n' % tuple(texts))
    page.submit()
    assert page.numbers('td data') == close((vectors @ vectors.T).ravel().tolist())
    assert page.texts('thead th') == ['Text', '1', '2', '3']
    assert page.texts('tbody th') == ['%d %s' % item for item in enumerate(texts, 1)]


def test_ranking(page, server):
    texts = ['the film', 'good', 'bad plot']
    expected = server.ask('/rerank', {'model': 'ranks', 'query': 'good', 'texts': texts})
    page.open('ranks')
    page.fill(query='good', documents='\n'.join(texts))
    page.submit()
    assert page.texts('tbody th') == [texts[item['index']] for item in expected]
    assert page.numbers() == close([item['score'] for item in expected])
    assert page.texts('tbody td:nth-child(2)') == [str(item['index'] + 1) for item in expected]


def test_words_for_masks(page, server):
    text = '😀 the [MASK] good [MASK]'
    expected, = server.ask('/fill', {'model': 'masks', 'inputs': text})['masks']
    page.open('masks')
    page.fill(text='😀 the [MASK] good ')
    page.page.get_by_role('button', name='Insert [MASK]').click()
    page.submit()
    assert page.texts('tbody th') == [item['word'] for mask in expected for item in mask['words']]
    assert page.numbers() == close([item['score'] for mask in expected for item in mask['words']])
    best = tuple(mask['words'][0]['word'] for mask in expected)
    assert best[0] != best[1], 'the test needs both'
    assert page.texts('.text') == ['😀 the %s good %s' % best]


def test_answers_are_marked(page, server):
    """Also behind an emoji, which is one character for the server and two for JavaScript."""
    documents = ['😀😀 the film was good .', 'so 😀 it was\nbad']
    answer = server.ask('/answer', {'model': 'answers', 'question': 'was it',
                                    'documents': documents})
    page.open('answers')
    page.fill(question='was it', documents='\n\n'.join(documents))
    page.submit()
    assert page.numbers('.answer data') == close(
        [item['probability'] for item in answer['answers']])
    assert page.texts('.verdict strong') == [answer['answer']]
    assert page.result.locator('.document p').all_text_contents() == documents
    assert ''.join(page.result.locator('mark.rank-1').all_text_contents()) == answer['answer']
    for i, item in enumerate(answer['answers']):
        button = page.result.locator('.answer').nth(i)
        button.click()
        assert button.get_attribute('aria-pressed') == 'true'
        chosen = page.result.locator('.document').nth(item['document']).locator('.chosen')
        assert ''.join(chosen.all_text_contents()) == item['answer']


def test_entities_are_marked(page, server):
    text = '😀 the film was good 😀 and bad .\nso it was'
    expected, = server.ask('/entities', {'model': 'tags', 'inputs': text})['entities']
    assert len({item['type'] for item in expected}) == 2, 'the test needs both'
    page.open('tags')
    page.fill(text=text)
    page.submit()
    assert page.result.locator('.entity-text').all_text_contents() == \
        [item['text'] for item in expected]
    assert page.texts('.entity .entity-type') == [item['type'] for item in expected]
    assert page.numbers('td data') == close([item['score'] for item in expected])
    titles = [mark.get_attribute('title') for mark in page.result.locator('.entity').all()]
    assert [float(title.split()[-1]) for title in titles] == page.numbers('td data')
    colours = {mark.locator('.entity-type').inner_text(): mark.evaluate(
        'mark => getComputedStyle(mark).backgroundColor')
        for mark in page.result.locator('.entity').all()}
    assert len(set(colours.values())) == 2
    for item in page.result.locator('.legend .entity-type').all():
        assert colours.pop(item.inner_text()) == item.evaluate(
            'item => getComputedStyle(item).backgroundColor')
    assert not colours


def test_no_html_comes_of_a_text(page):
    for name in 'tags', 'classes', 'vectors':
        page.open(name)
        page.panel.locator('textarea').first.fill(NASTY)
        page.submit()
        assert page.texts('*') and not page.panel.locator('b, img, script').count()


# ---- the command

@pytest.mark.parametrize('name,field,path', [
    ('classes', 'text', '/predict'), ('tags', 'text', '/entities'),
    ('answers', 'documents', '/answer')])
def test_the_command_gets_the_same_answer(page, name, field, path):
    page.open(name)
    page.fill(**{field: NASTY})
    with page.page.expect_response('**' + path) as response:
        page.submit()
    assert run_command(page.command) == response.value.json()
    assert '\u202e' not in page.command, 'it would change the order of what is read'


def test_a_long_command(page):
    """Linux takes no argument of that length."""
    page.open('classes')
    page.fill(text="it's " + 'good ' * 30000)
    page.cut_long_texts()
    with page.page.expect_response('**/predict') as response:
        page.submit()
    assert run_command(page.command) == response.value.json()


def test_the_command_is_copied(page):
    page.open('classes')
    page.fill(text=NASTY)
    page.submit()
    page.panel.get_by_role('button', name='Copy').click()
    page.panel.get_by_text('Copied.').wait_for()
    assert page.page.evaluate('navigator.clipboard.readText()') == page.command


def run_command(command, **variables):
    """The content of the answer that a command of the page gets."""
    if not shutil.which('curl'):
        pytest.skip(browsers.NO_BROWSER)
    process = subprocess.run(['bash'], input=command, capture_output=True, text=True, timeout=60,
                             env=dict(os.environ, **variables))
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


# ---- what goes wrong, and what is cut

def test_a_text_that_is_too_long(page, server):
    page.open('classes')
    page.fill(text=LONG)
    page.submit()
    message = server.send('/predict', {'model': 'classes', 'inputs': LONG}).json()['error']
    assert 'The server says (422): ' + message in page.alert
    assert 'Or tick “Cut texts that are too long” above.' in page.alert
    assert not page.texts('*')
    page.cut_long_texts()
    page.submit()
    assert not page.alert
    assert page.texts('.notice li') == ['The text: 40 of 62 tokens were read.']


def test_one_text_of_several_is_too_long(page):
    page.open('vectors')
    page.fill(texts='good\n\n' + LONG)
    page.submit()
    assert 'The server counts from 0: this is text 2 (“good good' in page.alert
    page.cut_long_texts()
    page.submit()
    line, = page.texts('.notice li')
    assert re.fullmatch(r'Text 2 \(“(good )+good…”\): 40 of 62 tokens were read\.', line)


def test_a_server_that_is_gone(page):
    page.page.route('**/v1/models', lambda route: route.abort())
    page.page.goto(page.url)
    page.page.get_by_text('The server can’t be reached.').wait_for()
    page.page.unroute('**/v1/models')
    page.page.get_by_role('button', name='Try again').click()
    page.panel.wait_for()
    page.page.route('**/v1/embeddings', lambda route: route.abort())
    page.submit()
    assert page.alert == 'The server can’t be reached. Check that it runs, and try again.'
    page.page.unroute('**/v1/embeddings')
    page.submit()
    assert not page.alert and page.texts('h3') == ['Result']


def test_an_error_of_something_else(page):
    """A proxy's error is no JSON."""
    page.open('classes')
    page.page.route('**/predict', lambda route: route.fulfill(status=502, body='<html>'))
    page.submit()
    assert 'The server says (502): ' in page.alert


def test_while_the_server_computes(page):
    waiting = []
    page.open('classes')
    page.page.route('**/predict', lambda route: waiting.append(route))
    page.button.click()
    page.panel.and_(page.page.locator('[aria-busy=true]')).wait_for()
    assert page.status == 'Waiting for the server…'
    page.button.press('Enter')      # nothing more is sent
    page.page.get_by_role('button', name='Stop').press('Enter')
    page.wait()
    assert page.status == 'Stopped.' and len(waiting) == 1
    assert page.page.evaluate('document.activeElement.type') == 'submit'


# ---- keys

def test_a_key(open_page, locked):
    page = open_page(locked.url)
    page.page.goto(page.url)
    field = page.page.get_by_label('Key')
    field.fill('wrong')
    field.press('Enter')
    page.page.get_by_text('The server does not accept this key.').wait_for()
    assert field.input_value() == ''
    field.fill(' %s ' % KEY)
    field.press('Enter')
    page.panel.wait_for()
    assert not field.is_visible() and not page.page.locator('#models').is_visible()
    with page.page.expect_response('**/answer') as response:
        page.submit()
    assert '-H "Authorization: Bearer $BERT_API_KEY"' in page.command
    assert KEY not in page.page.content()
    assert run_command(page.command, BERT_API_KEY=KEY) == response.value.json()
    assert page.page.evaluate('[{...sessionStorage}, {...localStorage}, document.cookie]') == \
        [{'bert-api-key': KEY}, {}, '']
    page.page.reload()      # the tab still has it
    page.panel.wait_for()
    page.page.get_by_role('button', name='Forget the key').click()
    assert page.page.evaluate('sessionStorage.length') == 0
    page.submit()
    assert 'The server says (401): ' in page.alert and field.is_visible()


def test_no_answer(open_page, locked):
    page = open_page(locked.url)
    page.page.goto(page.url)
    page.page.get_by_label('Key').fill(KEY)
    page.page.get_by_role('button', name='Use this key').click()
    page.panel.wait_for()
    with page.page.expect_response('**/answer') as response:
        page.submit()
    answer = response.value.json()
    assert answer['no_answer'] and page.texts('.verdict strong') == ['No answer']
    assert page.numbers('.verdict data') == [answer['no_answer_probability']]
    assert page.numbers('.answer data') == [item['probability'] for item in answer['answers']]
    assert page.result.locator('mark').count() and not page.result.locator('.rank-1').count()


# ---- the page as such

def test_the_keyboard_is_enough(page):
    page.open('vectors')
    keyboard = page.page.keyboard

    def press_until(key, css):
        for _ in range(40):
            keyboard.press(key)
            if page.page.locator(css).and_(page.page.locator(':focus')).count():
                outline = page.page.evaluate('getComputedStyle(document.activeElement).outline')
                assert 'solid 3px' in outline, 'the focus is not seen'
                return
        raise AssertionError('no way to ' + css)
    press_until('Tab', '#models a[href="#/classes"]')
    keyboard.press('Enter')
    page.panel.get_by_role('heading', name='classes').wait_for()
    press_until('Tab', '[name=text]')
    keyboard.press('Control+A')
    keyboard.type('the film was good')
    press_until('Tab', '[name=cut]')
    keyboard.press('Space')
    press_until('Tab', '[type=submit]')
    keyboard.press('Enter')
    page.wait()
    assert '"inputs":"the film was good","truncate":true' in page.command
    press_until('Shift+Tab', '[name=text]')
    keyboard.type(' .')
    keyboard.press('Control+Enter')
    page.panel.locator('code').get_by_text('the film was good .').wait_for()
    press_until('Tab', '.request button')
    keyboard.press('Enter')
    page.panel.get_by_text('Copied.').wait_for()


def test_models_have_addresses_and_keep_what_was_written(page):
    page.open('tags')
    page.fill(text='the film')
    assert page.page.title() == 'tags – BERT'
    names = page.page.locator('#models a')
    assert [name.split('\n') for name in names.all_inner_texts()] == [
        ['vectors', 'Vectors'], ['classes', 'Classification'], ['labels', 'Several labels'],
        ['ranks', 'Ranking'], ['answers', 'Answers'], ['tags', 'Entities'],
        ['masks', 'Missing words'], ['scores', 'Score']]
    names.nth(1).click()
    assert page.panel.get_by_role('heading', name='classes').is_visible()
    assert names.nth(1).get_attribute('aria-current') == 'true'
    page.page.go_back()
    page.panel.get_by_role('heading', name='tags').wait_for()
    assert page.panel.locator('[name=text]').input_value() == 'the film'


def test_the_page_can_ask_no_other_host(page):
    page.open('classes')
    blocked = page.page.evaluate('''new Promise(resolve => {
        addEventListener('securitypolicyviolation', event => resolve(event.blockedURI));
        fetch('http://localhost:9/').catch(() => setTimeout(resolve, 1000, 'nothing'));
    })''')
    assert blocked == 'http://localhost:9/'
