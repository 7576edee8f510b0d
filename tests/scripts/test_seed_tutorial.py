"""The code of seed 003, from its imports to the accuracy of the quantized SymbolBlock."""
import contextlib
import io
import os
import re
import warnings

import numpy as np
import pytest

pytestmark = pytest.mark.real_models
NUM_EXAMPLES = 128      # of MRPC's dev set, which the tutorial trains on: a minute instead of three

# The only edits allowed: the context, the file name, the model line and num_workers
EDITS = (
    ('ctx = mx.gpu(0)', 'ctx = mx.cpu()'),
    ("'dev.tsv'", 'FILE'),
    ('num_workers=4', 'num_workers=0'),
    (re.compile(r'bert_base, vocabulary = nlp\.model\.get_model\(.*?\)\n', re.DOTALL),
     "from bert.model.zoo import get_model\n"
     "bert_base, vocabulary = get_model('bert_6_384_12', use_decoder=False, "
     "use_classifier=False)\n"),
)


def edit_code(seed):
    """The snippets of the tutorial in order, edited."""
    code = '\n'.join(re.findall(r'```\{\.python \.input\}\n(.*?)```', seed, re.DOTALL))
    for old, new in EDITS:
        code, count = re.subn(re.escape(old) if isinstance(old, str) else old, new, code)
        assert count, old
    return code


@pytest.fixture(scope='module')
def tutorial(data_dir, tmp_path_factory):
    """The tutorial's variables at its end, its output and its folder. It runs once."""
    seed, = (data_dir.parent / 'seeds').glob('003*.txt')
    folder, output = tmp_path_factory.mktemp('tutorial'), io.StringIO()
    rows = (data_dir / 'glue' / 'MRPC' / 'dev.tsv').read_text(encoding='utf-8').splitlines(True)
    (folder / 'short.tsv').write_text(''.join(rows[:1 + NUM_EXAMPLES]), encoding='utf-8')
    names, old_folder = {'FILE': 'short.tsv'}, os.getcwd()
    os.chdir(str(folder))
    try:
        with contextlib.redirect_stdout(output), warnings.catch_warnings():
            exec(compile(edit_code(seed.read_text(encoding='utf-8')), 'seed 003', 'exec'), names)
    finally:
        os.chdir(old_folder)
    return dict(names, output=output.getvalue(), folder=folder)


def test_it_prints_what_its_text_promises(tutorial):
    output = tutorial['output']
    assert 'vocabulary used for tokenization = \nVocab(size=30522' in output
    assert '[PAD] token id = 0' in output and '[SEP] token id = 102' in output
    assert len(re.findall(r'\[Epoch [012] Batch 4/\d+\] loss=', output)) == 3
    assert 'Calibration done with success.' in output
    assert 'Saving quantized model at  ./model_bert_squad_quantized' in output
    assert re.search(r'\[Batch 4/\d+\], acc=0\.\d+', output)


def test_the_quantized_block(tutorial):
    """It has INT8 operators, and nearly always predicts the class of the float network."""
    mx, folder = tutorial['mx'], tutorial['folder']
    # the tutorial doesn't reset its metric: the last epoch of training is in it too
    assert tutorial['eval_metric'].get()[0] == 'accuracy'
    assert tutorial['eval_metric'].num_inst == 2 * NUM_EXAMPLES
    files = {path.name for path in folder.iterdir()}
    assert files == {'short.tsv', 'model_bert_squad_quantized-symbol.json',
                     'model_bert_squad_quantized-0000.params'}
    block = mx.gluon.SymbolBlock.imports(
        str(folder / 'model_bert_squad_quantized-symbol.json'), ['data0', 'data1', 'data2'],
        str(folder / 'model_bert_squad_quantized-0000.params'))
    assert 'quantized_sg_mkldnn_fully_connected' in block(
        *map(mx.sym.var, ('a', 'b', 'c'))).tojson()
    matches = []
    for token_ids, segment_ids, valid_length, _ in tutorial['dev_dataloader']:
        arrays = [array.as_in_context(mx.cpu()) for array in (
            token_ids, segment_ids, valid_length.astype('float32'))]
        matches.append(np.equal(block(*arrays).asnumpy().argmax(axis=1),
                                tutorial['bert_classifier'](*arrays).asnumpy().argmax(axis=1)))
    assert np.concatenate(matches).mean() > 0.9
