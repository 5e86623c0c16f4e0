"""
Checkpoints that are published as PyTorch files, as the program reads them (safetensors and a config.json):

  from_torch.py head FILE.pth OUT.safetensors         a linear head: DINO's *_linearweights.pth, DINOv2's *_linear_head.pth
  from_torch.py bcos FILE.pth NAME FOLDER             a B-cos ViT; NAME as in its repository: simple_vit_b_patch16_224,
                                                      vitc_b_patch1_14, ...

Needs python3-torch; the files are what DINO, DINOv2 and B-cos v2 offer for download.
"""
import json
import math
import os
import re
import struct
import sys

import torch

WIDTHS = {'ti': 192, 's': 384, 'b': 768, 'l': 1024}


def state_of(path):
    state = torch.load(path, map_location='cpu')
    for key in 'state_dict', 'model', 'teacher':
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return {name: t.float().contiguous() for name, t in state.items() if torch.is_tensor(t) and t.is_floating_point()}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {'dtype': 'F32', 'shape': list(t.shape), 'data_offsets': [at, at + 4 * t.numel()]}
        at += 4 * t.numel()
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text)
        for t in tensors.values():
            f.write(t.numpy().astype('<f4').tobytes())


def bcos_config(name, classes):
    """The logit bias of training with `classes` sigmoids; bilinear resize of 256, crop of 224: the repository's evaluation."""
    return {'architecture': 'bcos_' + name, 'num_classes': classes, 'num_features': WIDTHS[re.search('_(ti|s|b|l)_', name)[1]],
            'model_args': {'logit_bias': -math.log(classes - 1)},
            'pretrained_cfg': {'tag': 'bcos_v2', 'input_size': [6, 224, 224], 'interpolation': 'bilinear', 'crop_pct': .875,
                               'crop_mode': 'center', 'mean': [0., 0., 0.], 'std': [1., 1., 1.], 'num_classes': classes}}


def main(kind, *a):
    if kind == 'head' and len(a) == 2:
        write_safetensors(a[1], state_of(a[0]))
    elif kind == 'bcos' and len(a) == 3:
        state, head = state_of(a[0]), 'linear_head.linear.linear.weight'
        classes = next((t.shape[0] for name, t in state.items() if name.endswith(head)), 0)
        if not classes:
            sys.exit(f'{a[0]}: no tensor ends in {head}: not a B-cos ViT')
        if not re.fullmatch('(simple_vit_(ti|s|b|l)_patch16_224|vitc_(ti|s|b|l)_patch1_14)', a[1]):
            sys.exit(f'{a[1]}: expected simple_vit_SIZE_patch16_224 or vitc_SIZE_patch1_14, SIZE one of ti, s, b, l')
        os.makedirs(a[2], exist_ok=True)
        write_safetensors(os.path.join(a[2], 'model.safetensors'), state)
        with open(os.path.join(a[2], 'config.json'), 'w') as f:
            json.dump(bcos_config(a[1], classes), f, indent=1)
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main(*sys.argv[1:] or [''])
