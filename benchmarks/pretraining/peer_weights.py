"""The peer's side of rxnfp.py: converts a pytorch_model.bin to model.safetensors beside it."""
import pathlib
import sys

import safetensors.torch
import torch


def main():
    path = pathlib.Path(sys.argv[1])
    tensors = torch.load(path, weights_only=True, map_location='cpu')
    safetensors.torch.save_file({name: tensor.contiguous().clone()
                                 for name, tensor in tensors.items()},
                                str(path.with_name('model.safetensors')), {'format': 'pt'})


if __name__ == '__main__':
    main()
