"""A ViT of random weights as a checkpoint folder, for benchmarks: make_vit.py FOLDER ARCHITECTURE"""
import json
import os
import struct
import sys

import numpy as np

SIZES = {'vit_tiny_patch16_224': (192, 12, 3), 'vit_small_patch16_224': (384, 12, 6),
         'vit_base_patch16_224': (768, 12, 12), 'vit_large_patch16_224': (1024, 24, 16)}


def shapes(width, depth, tokens):
    yield 'cls_token', (1, 1, width), .02
    yield 'pos_embed', (1, tokens, width), .02
    yield 'patch_embed.proj.weight', (width, 3, 16, 16), .02
    yield 'patch_embed.proj.bias', (width,), 0
    for i in range(depth):
        for name, size in ('norm1', width), ('norm2', width):
            yield f'blocks.{i}.{name}.weight', (size,), 1
            yield f'blocks.{i}.{name}.bias', (size,), 0
        for name, out, into in (('attn.qkv', 3 * width, width), ('attn.proj', width, width),
                                ('mlp.fc1', 4 * width, width), ('mlp.fc2', width, 4 * width)):
            yield f'blocks.{i}.{name}.weight', (out, into), .04
            yield f'blocks.{i}.{name}.bias', (out,), 0
    yield 'norm.weight', (width,), 1
    yield 'norm.bias', (width,), 0
    yield 'head.weight', (1000, width), .04
    yield 'head.bias', (1000,), 0


def main(folder, architecture):
    width, depth, heads = SIZES[architecture]
    rng = np.random.default_rng(1)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'config.json'), 'w') as f:
        json.dump({'architecture': architecture, 'num_classes': 1000, 'num_features': width, 'global_pool': 'token',
                   'pretrained_cfg': {'input_size': [3, 224, 224], 'crop_pct': .9, 'interpolation': 'bicubic',
                                      'mean': [.5, .5, .5], 'std': [.5, .5, .5], 'num_classes': 1000}}, f)
    entries, at = {}, 0
    tensors = list(shapes(width, depth, 197))
    for name, shape, _ in tensors:
        bytes_ = 4 * int(np.prod(shape))
        entries[name] = {'dtype': 'F32', 'shape': shape, 'data_offsets': [at, at + bytes_]}
        at += bytes_
    header = json.dumps(entries).encode()
    header += b' ' * (-len(header) % 8)
    with open(os.path.join(folder, 'model.safetensors'), 'wb') as f:
        f.write(struct.pack('<Q', len(header)) + header)
        for name, shape, scale in tensors:
            w = np.full(shape, scale) if len(shape) == 1 else scale * rng.standard_normal(shape, np.float32)
            f.write(w.astype('<f4').tobytes())


main(*sys.argv[1:])
