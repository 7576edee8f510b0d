"""The classes of the original: SquadExample, SQuADFeature, SQuADTransform."""
import gluonnlp
import pytest
from support import tiny

from bert.data.qa import SquadExample, SQuADTransform
from bert.data.squad.files import Question, Squad
from bert.data.squad.windows import WindowOptions, make_windows
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.vocabulary import make_vocabulary

VOCABULARY = make_vocabulary(list(tiny.TOKENS))
CONTEXT = 'The  good films was so very bad and the plot.'
RECORD = (7, 'q', 'the film ?', CONTEXT, ['very bad'], [CONTEXT.index('very bad')])
SIZES = dict(max_seq_length=14, doc_stride=3, max_query_length=4)


@pytest.fixture(params=['ours', 'gluonnlp'])
def tokenizer(request):
    if request.param == 'ours':
        return BertTokenizer(VOCABULARY, lower=True)
    return gluonnlp.data.BERTTokenizer(VOCABULARY, lower=True)


def test_features(tokenizer):
    features = SQuADTransform(tokenizer, **SIZES)(RECORD)
    assert [feature.doc_span_index for feature in features] == [0, 1, 2]
    first, last = features[0], features[-1]
    assert (first.example_id, first.qas_id, first.is_impossible) == (7, 'q', False)
    assert first.doc_tokens == CONTEXT.split()
    assert first.tokens == ['[CLS]', 'the', 'film', '[UNK]', '[SEP]', 'the', 'good', 'film', '##s',
                            'was', 'so', 'very', 'bad', '[SEP]']
    assert first.input_ids == VOCABULARY[first.tokens]
    assert first.segment_ids == [0] * 5 + [1] * 9
    assert (first.start_position, first.end_position) == (11, 12)
    assert first.token_to_orig_map == {5: 0, 6: 1, 7: 2, 8: 2, 9: 3, 10: 4, 11: 5, 12: 6}
    assert last.token_to_orig_map[max(last.token_to_orig_map)] == 9
    assert (last.valid_length, len(last.input_ids), len(last.segment_ids)) == (12, 14, 14)
    assert last.input_ids[12:] == [0, 0]        # [PAD]


def test_max_context_has_the_positions_of_the_map(tokenizer):
    """The original was off by one here, so a window's last token was never an answer."""
    features = SQuADTransform(tokenizer, **SIZES)(RECORD)
    for feature in features:
        assert set(feature.token_is_max_context) == set(feature.token_to_orig_map)
    assert features[-1].token_is_max_context[max(features[-1].token_is_max_context)]
    assert sum(sum(feature.token_is_max_context.values()) for feature in features) == 12


def test_the_same_windows_as_the_scripts(tokenizer):
    features = SQuADTransform(tokenizer, **SIZES)(RECORD)
    windows = make_windows(Squad('', [CONTEXT], [Question('q', RECORD[2], 0, (
        (RECORD[4][0], RECORD[5][0]),), False)], []), BertTokenizer(VOCABULARY, True),
        WindowOptions(**SIZES))
    assert len(windows) == len(features)
    for i, feature in enumerate(features):
        assert feature.input_ids[:feature.valid_length] == windows[i].token_ids.tolist()
        assert [feature.start_position, feature.end_position] == windows[i].label.tolist()


def test_switches(tokenizer):
    feature = SQuADTransform(tokenizer, is_pad=False, is_training=False, do_lookup=False,
                             **SIZES)(RECORD)[-1]
    assert feature.input_ids == feature.tokens and len(feature.tokens) == 12
    assert feature.start_position is None and feature.end_position is None


def test_an_impossible_question(tokenizer):
    features = SQuADTransform(tokenizer, **SIZES)(RECORD[:4] + ([], [], True))
    assert all(feature.is_impossible and feature.start_position == 0 for feature in features)


def test_example():
    example, _, _ = SQuADTransform(BertTokenizer(VOCABULARY, True), **SIZES)._example(RECORD)
    assert example == SquadExample('q', 'the film ?', CONTEXT.split(), 7, 'very bad', 5, 6, False)


def test_case_of_gluonnlps_tokenizer():
    tokens = list(tiny.TOKENS) + ['The']
    for lower, expected in ((True, 'the'), (False, 'The')):
        tokenizer = gluonnlp.data.BERTTokenizer(make_vocabulary(tokens), lower=lower)
        feature = SQuADTransform(tokenizer, **SIZES)(RECORD)[0]
        assert feature.tokens[5] == expected


def test_sizes_that_leave_no_room_for_a_context(tokenizer):
    with pytest.raises(UserError, match='--max_seq_length 60: expected more than --max_query_len'):
        SQuADTransform(tokenizer, max_seq_length=60)
