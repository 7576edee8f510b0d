"""Label texts to the values that the model learns."""
import numpy as np
import pytest

from bert.data.glue.labels import LabelEncoder, LabelSetEncoder


def test_classes_are_numbered_in_their_order():
    encode = LabelEncoder(('neutral', 'entailment', 'contradiction'))
    assert [encode(label) for label in ('contradiction', 'neutral', 'entailment')] == [2, 0, 1]
    assert encode('neutral').dtype == np.int32
    assert encode.expected == 'one of neutral, entailment, contradiction'


def test_an_alias_is_its_class():
    encode = LabelEncoder(('neutral', 'contradiction'), {'contradictory': 'contradiction'})
    assert encode('contradictory') == encode('contradiction') == 1


@pytest.mark.parametrize('label', ['1 ', '', 'Yes', '2', '1.0'])
def test_an_unknown_class_is_an_error(label):
    with pytest.raises(KeyError):
        LabelEncoder(('0', '1'))(label)


def test_scores():
    encode = LabelEncoder()
    assert encode('3.8') == np.float32(3.8) and encode('3.8').dtype == np.float32
    assert encode('-1e-3') == np.float32(-0.001)
    assert encode(2) == 2
    assert encode.expected == 'a number'


@pytest.mark.parametrize('label', ['', 'high', 'nan', 'NaN', 'inf', '-Infinity', '1,5'])
def test_a_score_must_be_a_finite_number(label):
    with pytest.raises(ValueError):
        LabelEncoder()(label)


def test_a_set_of_labels_is_a_vector():
    encode = LabelSetEncoder(('good', 'bad', 'long'))
    assert encode(('long', 'good')).tolist() == [1, 0, 1]
    assert encode(()).tolist() == [0, 0, 0] and encode(()).dtype == np.float32
    assert encode.expected == 'one of good, bad, long'
    with pytest.raises(KeyError, match='short'):
        encode(('good', 'short'))


def test_scores_as_shares_of_the_highest():
    encode = LabelEncoder(max_score=5.0)
    for label, share in (('0', 0), ('5', 1), ('3.8', 0.76), ('5.000', 1), ('-0', 0)):
        assert encode(label) == np.float32(share) and encode(label).dtype == np.float32
    assert encode.expected == 'a number from 0 to 5'
    assert LabelEncoder(max_score=2.5).expected == 'a number from 0 to 2.5'
    for label in ('5.01', '-0.001', 'nan', 'inf', '', 'high'):
        with pytest.raises(ValueError):
            encode(label)
