"""
A ViT of random weights as a checkpoint folder, for benchmarks, as timm writes one:
  make_vit.py FOLDER ARCHITECTURE [--size PIXELS] [--depth N]
ARCHITECTURE: vit_{tiny,small,base,large}_patch16_224, deit3_base_patch16_224 (LayerScale, no position for the class
token); another size or depth than the architecture's goes into model_args.
"""
import argparse
import json
import os
import struct

import numpy as np

# width, depth
SIZES = {'vit_tiny_patch16_224': (192, 12), 'vit_small_patch16_224': (384, 12), 'vit_base_patch16_224': (768, 12),
         'vit_large_patch16_224': (1024, 24), 'deit3_base_patch16_224': (768, 12)}
PATCH, SIZE, CLASSES = 16, 224, 1000


def block_shapes(width, scaled):
    for name in 'norm1', 'norm2':
        yield f'{name}.weight', (width,), 1
        yield f'{name}.bias', (width,), 0
    for name, out, into in (('attn.qkv', 3 * width, width), ('attn.proj', width, width),
                            ('mlp.fc1', 4 * width, width), ('mlp.fc2', width, 4 * width)):
        yield f'{name}.weight', (out, into), .04
        yield f'{name}.bias', (out,), 0
    if scaled:
        yield 'ls1.gamma', (width,), .5
        yield 'ls2.gamma', (width,), .5


def shapes(width, depth, patches, deit3):
    """Name, shape and scale of every tensor: a deviation, or the value of a vector."""
    yield 'cls_token', (1, 1, width), .02
    yield 'pos_embed', (1, patches + (not deit3), width), .02
    yield 'patch_embed.proj.weight', (width, 3, PATCH, PATCH), .02
    yield 'patch_embed.proj.bias', (width,), 0
    for i in range(depth):
        for name, shape, scale in block_shapes(width, deit3):
            yield f'blocks.{i}.{name}', shape, scale
    yield 'norm.weight', (width,), 1
    yield 'norm.bias', (width,), 0
    yield 'head.weight', (CLASSES, width), .04
    yield 'head.bias', (CLASSES,), 0


def write_config(path, architecture, size, depth):
    width, usual_depth = SIZES[architecture]
    args = {**({'img_size': size} if size != SIZE else {}), **({'depth': depth} if depth != usual_depth else {})}
    config = {'architecture': architecture, 'num_classes': CLASSES, 'num_features': width, 'global_pool': 'token',
              **({'model_args': args} if args else {}),
              'pretrained_cfg': {'tag': 'random', 'custom_load': False, 'input_size': [3, size, size],
                                 'fixed_input_size': True, 'interpolation': 'bicubic', 'crop_pct': .9,
                                 'crop_mode': 'center', 'mean': [.5, .5, .5], 'std': [.5, .5, .5],
                                 'num_classes': CLASSES, 'pool_size': None, 'first_conv': 'patch_embed.proj',
                                 'classifier': 'head'}}
    with open(path, 'w') as f:
        json.dump(config, f, indent=2)


def write_tensors(path, tensors):
    entries, at, rng = {}, 0, np.random.default_rng(1)
    for name, shape, _ in tensors:
        size = 4 * int(np.prod(shape))
        entries[name] = {'dtype': 'F32', 'shape': shape, 'data_offsets': [at, at + size]}
        at += size
    header = json.dumps(entries).encode()
    header += b' ' * (-len(header) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(header)) + header)
        for _, shape, scale in tensors:
            w = np.full(shape, scale) if len(shape) == 1 else scale * rng.standard_normal(shape, np.float32)
            f.write(w.astype('<f4').tobytes())


def make(folder, architecture, size=SIZE, depth=None):
    width, usual_depth = SIZES[architecture]
    depth = depth or usual_depth
    if size % PATCH:
        raise SystemExit(f'make_vit.py: {size} pixels are not a whole number of patches of {PATCH}')
    os.makedirs(folder, exist_ok=True)
    write_config(os.path.join(folder, 'config.json'), architecture, size, depth)
    write_tensors(os.path.join(folder, 'model.safetensors'),
                  list(shapes(width, depth, (size // PATCH)**2, architecture.startswith('deit3'))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder')
    parser.add_argument('architecture', choices=SIZES)
    parser.add_argument('--size', type=int, default=SIZE)
    parser.add_argument('--depth', type=int)
    a = parser.parse_args()
    make(a.folder, a.architecture, a.size, a.depth)


if __name__ == '__main__':
    main()
