"""Settings of the library huggingface_hub for a test in this process."""
from huggingface_hub import constants

from bert.hub_errors import OFFLINE_VARIABLES, TOKEN_VARIABLES


def use_hub(server, folder, monkeypatch):
    """Point the library to a `HubServer`, with its cache and token in `folder`. The library reads
    its environment variables when it is imported, so this changes what it has read."""
    endpoint = server.url.rstrip('/')
    for name, value in dict(
            ENDPOINT=endpoint, HF_HUB_CACHE=str(folder / 'hub'), HF_HUB_OFFLINE=False,
            HUGGINGFACE_CO_URL_TEMPLATE=endpoint + '/{repo_id}/resolve/{revision}/{filename}',
            HF_TOKEN_PATH=str(folder / 'token'), HF_HUB_DISABLE_TELEMETRY=True).items():
        monkeypatch.setattr(constants, name, value)
    for name in TOKEN_VARIABLES + OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
