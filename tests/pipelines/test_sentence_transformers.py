"""Embedding models against sentence-transformers itself: its folders here, ours there."""
import numpy as np
import pytest
from support import tiny
from support.sentence_folders import MODES, dense_arrays, new_pooling, old_pooling, write_folder

from bert import jobs
from bert.pipelines.embedder import Embedder

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings('ignore')]
TEXTS = ['The film was so good .', 'bad', '', 'plots and scenes ' * 20, 'it was a very fine film']
PROMPTS = {'query': 'the film : ', 'document': 'so very ', 'x': 'it was '}


@pytest.fixture
def library(sentence_transformers):
    return sentence_transformers


@pytest.fixture
def parts(library, tmp_path):
    """(function: length → Transformer, the module of the other layers)"""
    from sentence_transformers.sentence_transformer import modules
    path = tiny.write_checkpoint(tmp_path / 'bert')

    def make_transformer(length):
        transformer = modules.Transformer(path)
        transformer.max_seq_length = length
        return transformer
    return make_transformer, modules


def assert_same_vectors(theirs, ours):
    for method, expected in ((ours, theirs.encode), (ours.encode_query, theirs.encode_query),
                             (ours.encode_document, theirs.encode_document)):
        vectors, expected_vectors = method(TEXTS), expected(TEXTS)
        assert vectors.shape == expected_vectors.shape
        np.testing.assert_allclose(vectors, expected_vectors, atol=1e-5)


def check(library, folder, modules, **settings):
    """Save their model, open it here; convert it to Gluon and back, open that there."""
    path = str(folder)
    library.SentenceTransformer(modules=modules, device='cpu', **settings).save(path)
    theirs = library.SentenceTransformer(path, device='cpu')
    assert_same_vectors(theirs, Embedder(path))
    jobs.convert_checkpoint(input=path, output=path + '-gluon')
    jobs.convert_checkpoint(input=path + '-gluon', output=path + '-back')
    assert_same_vectors(theirs, Embedder(path + '-gluon'))
    back = library.SentenceTransformer(path + '-back', device='cpu')
    np.testing.assert_allclose(back.encode(TEXTS), theirs.encode(TEXTS), atol=1e-5)
    assert (back.prompts, back.default_prompt_name, back.similarity_fn_name,
            back.max_seq_length) == (theirs.prompts, theirs.default_prompt_name,
                                     theirs.similarity_fn_name, theirs.max_seq_length)
    return theirs


@pytest.mark.parametrize('modes', [*MODES, ('mean', 'cls'), MODES])
def test_poolings(library, parts, tmp_path, modes):
    make_transformer, modules = parts
    check(library, tmp_path / 'm', [make_transformer(12), modules.Pooling(8, modes)])


@pytest.mark.parametrize('name', ['Tanh', 'Identity', 'ReLU', 'GELU', 'Sigmoid', 'SiLU'])
def test_layers(torch, library, parts, tmp_path, name):
    make_transformer, modules = parts
    activation = getattr(torch.nn, name)()
    check(library, tmp_path / 'm', [
        make_transformer(40), modules.Pooling(8, ('max', 'mean')), modules.Normalize(),
        modules.Dense(16, 6, activation_function=activation, use_residual=True),
        modules.Dense(6, 6, bias=False, activation_function=activation, use_residual=True),
        modules.Normalize()])


@pytest.mark.parametrize('include_prompt', [True, False])
def test_prompts(library, parts, tmp_path, include_prompt):
    make_transformer, modules = parts
    check(library, tmp_path / 'm', [
        make_transformer(9), modules.Pooling(8, MODES, include_prompt=include_prompt)],
        prompts=PROMPTS, default_prompt_name='x')


@pytest.mark.parametrize('name', ['cosine', 'dot', 'euclidean', 'manhattan'])
def test_similarities(library, parts, tmp_path, name):
    make_transformer, modules = parts
    theirs = check(library, tmp_path / 'm', [make_transformer(9), modules.Pooling(8, 'mean')],
                   similarity_fn_name=name)
    vectors = theirs.encode(TEXTS)
    np.testing.assert_allclose(Embedder(str(tmp_path / 'm')).similarity(vectors[:2], vectors),
                               theirs.similarity(vectors[:2], vectors).numpy(), atol=1e-4)


def test_weights_in_a_file_of_pytorch(torch, library, parts, tmp_path):
    make_transformer, modules = parts
    model = library.SentenceTransformer(modules=[
        make_transformer(9), modules.Pooling(8, 'mean'), modules.Dense(8, 3)], device='cpu')
    path = tmp_path / 'm'
    model.save(str(path))
    (path / '2_Dense' / 'model.safetensors').unlink()
    torch.save(model[2].state_dict(), str(path / '2_Dense' / 'pytorch_model.bin'))
    np.testing.assert_allclose(Embedder(str(path))(TEXTS), model.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize('pooling', [old_pooling('cls', 'lasttoken'), new_pooling('mean', 'max')])
def test_a_folder_of_the_first_generation(library, tmp_path, pooling):
    """Without the tokenizer that the library writes; dimensions are cut and then normalised."""
    path = write_folder(
        tmp_path / 'm', modules=('Pooling', 'Dense', 'Normalize'), pooling=pooling,
        length={'max_seq_length': 9, 'do_lower_case': False},
        dense=[({'in_features': 16, 'out_features': 6, 'bias': True,
                 'activation_function': 'torch.nn.modules.activation.Tanh'}, dense_arrays(16, 6))])
    theirs = library.SentenceTransformer(path, device='cpu')
    assert_same_vectors(theirs, Embedder(path))
    np.testing.assert_allclose(
        Embedder(path, dimensions=4)(TEXTS),
        theirs.encode(TEXTS, truncate_dim=4, normalize_embeddings=True), atol=1e-5)


def test_a_fine_tuned_run_opens_there(library, tmp_path):
    folder = write_folder(tmp_path / 'm', modules=('Pooling', 'Normalize'),
                          length={'max_seq_length': 9, 'do_lower_case': False})
    jobs.finetune_classifier(
        task_name='SST', data_dir=tiny.write_sst(tmp_path / 'SST-2'), bert_checkpoint=folder,
        epochs=1, max_len=24, output_dir=str(tmp_path / 'run'))
    back = str(tmp_path / 'back')
    jobs.convert_checkpoint(input=str(tmp_path / 'run'), output=back)
    assert_same_vectors(library.SentenceTransformer(back, device='cpu'),
                        Embedder(str(tmp_path / 'run')))
