"""Checkpoints of BERT's relatives open here, in every kind, with the outputs of transformers and
sentence-transformers, and can be written back."""
import mxnet as mx
import numpy as np
import pytest
from support import hub_models, relative_models
from support.hub_models import PAIRS, TEXTS, assert_close, assert_same_entities, read_by

import bert
from bert import convert_checkpoint
from bert.data.glue.download import locate_task
from bert.data.glue.tasks import find_task
from bert.data.text.readers import read_examples
from bert.train.optimizer import make_trainer

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings('ignore')]
FAMILIES = list(relative_models.CLASSES)
SHORT_TEXTS = [text for text in TEXTS if len(text) < 100]
families = pytest.mark.parametrize('family', FAMILIES)


@pytest.fixture
def write(tmp_path, data_dir, transformers):
    """Function (family, head, values of the configuration) → (network, tokenizer, folder)."""
    def write(family, head, **config):
        folder = tmp_path / head
        network = relative_models.write_model(family, head, folder, data_dir, TEXTS, **config)
        return network, transformers.AutoTokenizer.from_pretrained(str(folder)), str(folder)
    return write


@pytest.mark.parametrize('family, config', [
    *((family, {}) for family in FAMILIES),
    ('electra', {'embedding_size': relative_models.SIZES['hidden_size']})])     # as the base size
def test_vectors_of_tokens(write, torch, family, config):
    network, tokenizer, folder = write(family, 'Model', **config)
    embedder = bert.Embedder(folder)
    for text, (pieces, vectors) in zip(TEXTS, embedder.words(TEXTS, pieces=True), strict=True):
        inputs = tokenizer(text, truncation=True, max_length=embedder.max_seq_length,
                           return_tensors='pt')
        assert pieces == tokenizer.convert_ids_to_tokens(inputs['input_ids'][0, 1:-1])
        with torch.no_grad():
            assert_close(vectors, network(**inputs).last_hidden_state[0, 1:-1])


@families
def test_vectors_of_texts(tmp_path, write, sentence_transformers, family):
    from sentence_transformers.sentence_transformer import modules
    _, _, folder = write(family, 'Model')
    transformer = modules.Transformer(folder)
    transformer.max_seq_length = 128
    width = relative_models.SIZES['hidden_size']
    sentence_transformers.SentenceTransformer(
        modules=[transformer, modules.Pooling(width, 'mean'), modules.Normalize()],
        device='cpu').save(str(tmp_path / 'sentences'), create_model_card=False)
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / 'sentences'), device='cpu')
    ours = bert.open(str(tmp_path / 'sentences'))
    assert ours.sentence_model.max_seq_length == 128
    assert_close(ours(TEXTS), theirs.encode(TEXTS))


@families
def test_classes_of_texts_and_pairs(write, torch, family):
    network, tokenizer, folder = write(family, 'ForSequenceClassification',
                                       **hub_models.labels('bad', 'fine', 'good'))
    classifier = bert.open(folder)
    for items in (TEXTS, PAIRS):
        for item, record in zip(items, classifier(items), strict=True):
            texts = (item,) if isinstance(item, str) else item
            inputs = tokenizer(*texts, truncation=True, max_length=512, return_tensors='pt')
            with torch.no_grad():
                expected = network(**inputs).logits[0].softmax(dim=0)
            assert_close(list(record.probabilities.values()), expected)


@families
def test_ranks(write, sentence_transformers, tmp_path, family):
    _, _, folder = write(family, 'ForSequenceClassification', **hub_models.labels('LABEL_0'))
    theirs = sentence_transformers.CrossEncoder(folder, device='cpu')
    theirs.save(str(tmp_path / 'saved'))
    ours = bert.open(str(tmp_path / 'saved'))
    assert_close([record.score for record in ours(PAIRS)], theirs.predict(PAIRS))


@families
def test_entities(write, transformers, family):
    network, tokenizer, folder = write(family, 'ForTokenClassification',
                                       **hub_models.labels('O', 'B-PER', 'I-PER'))
    tagger = bert.open(folder)
    for aggregation in ('none', 'simple'):
        theirs = transformers.pipeline('token-classification', model=network, tokenizer=tokenizer,
                                       aggregation_strategy=aggregation)
        for text, records in zip(SHORT_TEXTS, tagger(SHORT_TEXTS, aggregation), strict=True):
            assert_same_entities(records, theirs(text) if text else [], aggregation)


@families
def test_answers(write, torch, family):
    """Their scores are the sums of the logits of their first and last tokens."""
    network, tokenizer, folder = write(family, 'ForQuestionAnswering')
    answerer, question = bert.open(folder), TEXTS[1]
    for document in (TEXTS[1], TEXTS[3], TEXTS[8]):
        inputs = tokenizer(question, document, return_tensors='pt', return_offsets_mapping=True)
        spans = inputs.pop('offset_mapping')[0].tolist()
        with torch.no_grad():
            outputs = network(**inputs)
        scores = {}
        inside = [i for i, text in enumerate(inputs.sequence_ids()) if text == 1]
        for first in inside:
            for last in range(first, inside[-1] + 1):
                score = outputs.start_logits[0, first] + outputs.end_logits[0, last]
                text = document[spans[first][0]:spans[last][1]].strip()
                scores[text] = max(scores.get(text, -np.inf), float(score))
        answers = answerer(question, document, top_k=5).answers
        assert len(answers) == 5
        assert_close([scores[answer.answer] for answer in answers],
                     sorted(scores.values(), reverse=True)[:5])


@pytest.mark.parametrize('family', [family for family in FAMILIES if family != 'electra'])
def test_words_at_masks(write, transformers, family):
    network, tokenizer, folder = write(family, 'ForMaskedLM')
    theirs = transformers.FillMaskPipeline(model=network, tokenizer=tokenizer)
    mask = tokenizer.mask_token
    texts = ['%s %s' % (mask, text) for text in SHORT_TEXTS if '[MASK]' not in text] + [
        'The %s was good' % mask, 'The%s.' % mask]
    for words, expected in zip(bert.open(folder, task='fill_mask')(texts), theirs(texts),
                               strict=True):
        assert [tuple(word)[1:] for word in words] == [
            (word['token'], word['token_str'], word['sequence']) for word in expected]
        assert_close([word.score for word in words], [word['score'] for word in expected])


HEADS = ('Model', 'ForSequenceClassification', 'ForTokenClassification', 'ForQuestionAnswering',
         'ForMaskedLM')


@pytest.mark.parametrize('family, head', [
    *((family, head) for family in FAMILIES for head in HEADS
      if (family, head) != ('electra', 'ForMaskedLM')), ('electra', 'ForPreTraining')])
def test_there_and_back(write, tmp_path, torch, family, head):
    """Every tensor, and the configuration. Rows of positions that no text uses come back as 0."""
    network, _, folder = write(family, head)
    gluon, again = str(tmp_path / 'gluon'), str(tmp_path / 'again')
    for arguments in ((folder, gluon), (gluon, again)):
        assert convert_checkpoint.main(arguments) == 0
    other, report = type(network).from_pretrained(again, output_loading_info=True)
    assert not any(report[key] for key in ('missing_keys', 'unexpected_keys', 'mismatched_keys'))
    for name, tensor in other.state_dict().items():
        expected = network.state_dict()[name].clone()
        if 'position_embeddings' in name and family not in ('distilbert', 'electra', 'ernie'):
            expected[:2] = 0
        assert torch.equal(tensor, expected), name
    for key in ('pad_token_id', 'type_vocab_size', 'layer_norm_eps', 'embedding_size',
                'max_position_embeddings', 'hidden_act', 'activation', 'architectures'):
        assert getattr(other.config, key, None) == getattr(network.config, key, None), key


@pytest.mark.parametrize('family', ['roberta', 'distilbert'])
def test_learning_mrpc(write, data_dir, torch, family):
    """The losses of 20 steps from random weights, without dropout, are those of transformers."""
    task = find_task('MRPC')
    examples, _ = read_examples(locate_task(task, str(data_dir / 'glue'))['train'],
                                task.segments['train'].table, task.label_encoder())
    theirs, tokenizer, folder = write(family, 'ForSequenceClassification', classifier_dropout=0,
                                      **relative_models.NO_DROPOUT[family],
                                      **hub_models.labels('0', '1'))
    ours = bert.open(folder).network
    groups = [[parameter for name, parameter in theirs.named_parameters()
               if name.endswith('bias') or 'LayerNorm' in name or '_norm' in name]]
    groups.append([parameter for parameter in theirs.parameters()
                   if not any(parameter is other for other in groups[0])])
    optimizer = torch.optim.AdamW([{'params': group, 'weight_decay': decay} for group, decay in zip(
        groups, (0, 0.01))], lr=1e-3, eps=1e-6)
    trainer = make_trainer(ours.collect_params(), 'adamw', 1e-3, 1e-6)
    loss_block, losses, expected = mx.gluon.loss.SoftmaxCELoss(), [], []
    theirs.train()
    for step in range(20):
        batch = examples[8 * step:8 * step + 8]
        inputs = tokenizer(*zip(*(example.texts for example in batch)), padding=True,
                           return_tensors='pt')
        labels = np.array([int(example.label) for example in batch])
        optimizer.zero_grad()
        loss = theirs(**inputs, labels=torch.tensor(labels)).loss
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
        token_ids = mx.nd.array(inputs['input_ids'].numpy(), dtype='int32')
        arrays = token_ids, token_ids * 0
        with mx.autograd.record(train_mode=False):
            mean = loss_block(ours(*arrays, mx.nd.array(inputs['attention_mask'].sum(dim=1))),
                              mx.nd.array(labels)).mean()
        mean.backward()
        trainer.step(1)
        losses.append(mean.asscalar())
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(losses, expected, atol=1e-4)


def test_replaced_tokens(write, torch):
    network, tokenizer, folder = write('electra', 'ForPreTraining')
    assert isinstance(bert.open(folder), bert.Embedder)
    tagger = bert.open(folder, task='token_classification')
    shares = []
    for text in SHORT_TEXTS[1:]:
        with torch.no_grad():
            expected = network(**read_by(tokenizer, text)).logits[0, 1:-1].sigmoid().numpy()
        tags = {tag.index: tag.score for tag in tagger(text, 'none')}
        assert sorted(tags) == np.flatnonzero(expected > 0.5).tolist()
        assert_close([tags[i] for i in sorted(tags)], expected[expected > 0.5])
        shares.append(len(tags) / len(expected))
    assert 0 < np.mean(shares) < 1
