"""A Hugging Face hub on this machine, for tests: the routes that the library huggingface_hub uses,
over HTTP, and the faults of the real hub. Large files come from another host name, as from the
hub's own network of caches, or by the xet protocol."""
import hashlib
import json
import time
import urllib.parse

from reference.local_server import LocalHandler, LocalServer

LFS_ENDINGS = ('.safetensors', '.bin', '.params', '.onnx', '.h5', '.gguf', '.msgpack')
TOKEN = 'hf_valid'
XET_TOKEN = 'xet-token'
XET_CHUNK_BYTES = 1 << 16


class Repository:
    """A model of the hub. commits: {commit: {file name: bytes}}. refs: {branch or tag: commit}.
    gated: whether only `HubServer.admitted` may fetch its files. private: whether only a valid
    token sees it. parameters: what the hub says of the weights, None for nothing."""

    def __init__(self, files, gated=False, private=False, parameters=None):
        self.commits, self.refs = {}, {}
        self.gated, self.private, self.parameters = gated, private, parameters
        self.commit(files)

    def commit(self, files, ref='main'):
        """Add a commit with these files. Returns its name."""
        name = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[name] = dict(files)
        self.refs[ref] = name
        return name


class HubHandler(LocalHandler):

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        path = url.path.lstrip('/')
        self.local.requests.append((self.command, path, self.headers.get('Range')))
        self.local.authorizations.append((path, self.headers.get('Authorization')))
        if path in self.local.status:
            self.fail(self.local.status[path], headers=self.local.headers)
        elif path.startswith('cdn/'):
            self.send_data(path, self.find_blob(path), {})
        elif path.startswith('cas/'):
            self.answer_cas(path)
        elif self.has_wrong_token():
            self.fail(401, '', 'Invalid credentials in Authorization header')
        elif path.startswith('api/models/'):
            self.answer_api(path[len('api/models/'):], urllib.parse.parse_qs(url.query))
        elif '/resolve/' in path:
            self.answer_file(path)
        else:
            self.fail(404)

    def fail(self, status, code='', message='', headers=()):
        self.send_response(status)
        body = json.dumps({'error': message or 'error %d' % status}).encode()
        for name, value in dict({'X-Error-Code': code, 'X-Error-Message': message,
                                 'Content-Type': 'application/json'}, **dict(headers)).items():
            if value:
                self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(body)

    def redirect(self, location, status, headers=()):
        self.send_response(status)
        for name, value in dict({'Location': location, 'Content-Length': '0'},
                                **dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()

    def token(self):
        return (self.headers.get('Authorization') or '')[len('Bearer '):] or None

    def has_wrong_token(self):
        return self.token() not in (None, TOKEN)

    def find_repository(self, name):
        """The `Repository`, or None after an answer that says why not."""
        repository = self.local.repositories.get(name)
        if repository is None or repository.private and not self.token():
            if self.token():
                self.fail(404, 'RepoNotFound', 'Repository not found')
            else:       # the hub does not say whether a repository is private
                self.fail(401, message='Invalid username or password.')
            return None
        return repository

    def answer_api(self, path, query):
        name, _, revision = path.partition('/revision/')
        if '/xet-read-token/' in path:
            return self.answer_xet_token()
        if name in self.local.renamed:
            return self.redirect('/api/models/%s%s?%s' % (
                self.local.renamed[name], path[len(name):],
                urllib.parse.urlsplit(self.path).query), 307)
        repository = self.find_repository(name)
        if repository is None:
            return None
        revision = urllib.parse.unquote(revision or 'main')
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self.fail(404, 'RevisionNotFound', 'Invalid rev id: %s' % revision)
        has_details = query.get('blobs') in (['true'], ['True'])
        info = {'id': name, 'modelId': name, 'sha': commit, 'private': repository.private,
                'gated': 'manual' if repository.gated else False, 'tags': [], 'siblings': [
                    self.describe_file(*item) if has_details else {'rfilename': item[0]}
                    for item in sorted(repository.commits[commit].items())]}
        if repository.parameters:
            info['safetensors'] = {'parameters': {'F32': repository.parameters},
                                   'total': repository.parameters}
        body = json.dumps(info).encode()
        self.send_data(self.path, body, {'Content-Type': 'application/json'})

    def describe_file(self, name, data):
        description = {'rfilename': name, 'size': len(data), 'blobId': blob_id(data)}
        if name.endswith(LFS_ENDINGS):
            description['lfs'] = {'sha256': sha256(data), 'size': len(data), 'pointerSize': 134}
        return description

    def answer_file(self, path):
        name, _, rest = path.partition('/resolve/')
        if name in self.local.renamed:
            return self.redirect('/%s/resolve/%s' % (self.local.renamed[name], rest), 307)
        repository = self.find_repository(name)
        if repository is None:
            return None
        revision, _, file_name = rest.partition('/')
        revision, file_name = urllib.parse.unquote(revision), urllib.parse.unquote(file_name)
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self.fail(404, 'RevisionNotFound', 'Invalid rev id: %s' % revision)
        if repository.gated and not (self.token() and self.local.admitted):
            return self.fail(403 if self.token() else 401, 'GatedRepo',
                             'Access to model %s is restricted.' % name)
        headers = {'X-Repo-Commit': commit}
        data = repository.commits[commit].get(file_name)
        if data is None:
            return self.fail(404, 'EntryNotFound', 'Entry not found', headers)
        if not file_name.endswith(LFS_ENDINGS):
            wrong = self.local.replace.get(path, data) if self.command == 'GET' else data
            return self.send_data(path, wrong, dict(headers, ETag='"%s"' % blob_id(data)))
        headers.update({'X-Linked-Etag': '"%s"' % sha256(data), 'X-Linked-Size': str(len(data))})
        if self.local.xet:
            headers.update({'X-Xet-Hash': sha256(data), 'X-Xet-Refresh-Route':
                            '%sapi/models/%s/xet-read-token/%s' % (self.local.url, name, commit)})
        return self.redirect(self.local.cdn_url + sha256(data), 302, headers)

    def find_blob(self, path):
        """The file of a sha256, as the server of large files sends it."""
        return self.local.replace.get(path) or self.local.blobs()[path.rpartition('/')[2]]

    # The xet protocol: a token for its server, the parts of a file, and the chunks of a part

    def answer_xet_token(self):
        self.send_data(self.path, b'{}', {
            'X-Xet-Cas-Url': self.local.url + 'cas', 'X-Xet-Access-Token': XET_TOKEN,
            'X-Xet-Token-Expiration': str(int(time.time()) + 3600)})

    def answer_cas(self, path):
        name = path.rpartition('/')[2]
        if '/v1/reconstructions/' in path and name in self.local.blobs():
            data = self.find_blob('cdn/' + name)
            chunks = range(0, -(-len(data) // XET_CHUNK_BYTES))
            part = {'start': 0, 'end': len(chunks)}
            self.send_data(path, json.dumps({
                'offset_into_first_range': 0,
                'terms': [{'hash': name, 'unpacked_length': len(data), 'range': part}],
                'fetch_info': {name: [{
                    'range': part, 'url': self.local.url + 'cas/xorb/' + name,
                    'url_range': {'start': 0, 'end': len(as_xorb(data)) - 1}}]}}).encode(),
                {'Content-Type': 'application/json'})
        elif '/xorb/' in path:
            self.send_data(path, as_xorb(self.find_blob('cdn/' + name)), {})
        else:
            self.fail(404)


class HubServer(LocalServer):
    """Serves `repositories` ({id: `Repository`}) while the `with` block lasts.

    renamed: {old id: id}. admitted: whether `TOKEN` may fetch from gated repositories. xet: whether
    large files are offered by the xet protocol. replace: {path: bytes that are sent instead}.
    headers: of the answers with a `status`. cdn_url: prefix of large files, with another host name.
    authorizations: [(path, header or None)] of the requests. See `LocalServer` for the others.
    """
    handler = HubHandler

    def __init__(self, repositories=None):
        super().__init__()
        self.repositories = dict(repositories or {})
        self.renamed, self.replace, self.headers, self.authorizations = {}, {}, {}, []
        self.admitted, self.xet = True, False

    def __enter__(self):
        super().__enter__()
        self.cdn_url = self.url.replace('127.0.0.1', 'localhost') + 'cdn/'
        return self

    def blobs(self):
        """{sha256: bytes} of all files."""
        return {sha256(data): data for repository in self.repositories.values()
                for files in repository.commits.values() for data in files.values()}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def blob_id(data):
    """The name that git gives a file."""
    return hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest()


def as_xorb(data):
    """The bytes as chunks of the xet protocol, uncompressed. The head of a chunk: version 0, the
    length of what follows, the kind of compression 0, the length without it."""
    chunks = [data[i:i + XET_CHUNK_BYTES] for i in range(0, len(data), XET_CHUNK_BYTES)]
    return b''.join(b'\0' + len(chunk).to_bytes(3, 'little') + b'\0'
                    + len(chunk).to_bytes(3, 'little') + chunk for chunk in chunks)
