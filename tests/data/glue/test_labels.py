"""Label texts to the values that the model learns."""
import numpy as np
import pytest

from bert.data.glue.labels import LabelEncoder


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
