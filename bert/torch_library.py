"""PyTorch, where it is installed and safe: it reads weights that torch.save wrote."""
from bert.errors import UserError

# PyTorch's files are pickles. With weights_only=True the library reads them without running the
# code that they name; before 2.6 a file could circumvent that (CVE-2025-32434).
MIN_TORCH_VERSION = (2, 6)
TORCH_ALTERNATIVE = 'let transformers write the model as safetensors, with save_pretrained(FOLDER)'


def import_torch(path):
    """The module torch. Raises `UserError`, with `path`, when it is missing or too old."""
    try:
        import torch
    except ImportError:
        raise UserError('%s: reading it takes PyTorch: pip install torch; or %s'
                        % (path, TORCH_ALTERNATIVE)) from None
    if tuple(int(part) for part in torch.__version__.split('.')[:2]) < MIN_TORCH_VERSION:
        raise UserError('%s: PyTorch %s could be tricked into running code that is in the file; '
                        'install %d.%d or later; or %s'
                        % ((path, torch.__version__) + MIN_TORCH_VERSION + (TORCH_ALTERNATIVE,)))
    return torch
