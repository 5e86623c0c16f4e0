"""
The families of Vision Transformers: a small random network of each against our PyTorch reference (tests/golden/families); the
tensor names and settings that published checkpoints have (tests/reference/names.json); what is refused, and by what words.
"""
import json
import os
import re
import shutil
import struct
import subprocess
import sys

from support import main, make_model, make_weights, write_safetensors

HERE = os.path.dirname(os.path.abspath(__file__))
FAMILIES = os.path.join(HERE, '../golden/families')
REFERENCE = os.path.join(HERE, '../reference')
BLOCKS = 2  # of the checkpoints with published names: the names repeat


def evaluate(b, *arguments):
    return b.evaluate(b.path('config.yaml'), *arguments)


# ---------------------------------------------------------------- goldens

def compare(t, b, folder, golden):
    out = b.path('out.h5')
    run = subprocess.run([os.path.join(b.bin, 'dave-replay'), golden, '--model', folder, '-o', out],
                         capture_output=True, text=True)
    name = os.path.relpath(golden, FAMILIES)
    if not t.ok(f'{name}: runs', run.returncode == 0, run.stderr.strip()):
        return
    run = subprocess.run([sys.executable, '-B', os.path.join(REFERENCE, 'compare_family.py'), golden, out],
                         capture_output=True, text=True)
    lines = [line for line in run.stdout.splitlines() if re.search(r' (ok|FAIL)\b', line)]
    t.ok(f'{name}: compared', len(lines) == 5, run.stdout + run.stderr)
    for line in lines:
        t.ok(f'{name}: {" ".join(line.split())}', 'FAIL' not in line)


def check_goldens(t, b):
    for family in sorted(os.listdir(FAMILIES)):
        folder = os.path.join(FAMILIES, family)
        goldens = [file for file in sorted(os.listdir(folder)) if file.startswith('golden')]
        t.ok(f'{family}: has a golden', goldens)
        for file in goldens:
            compare(t, b, folder, os.path.join(folder, file))


# ---------------------------------------------------------------- published names

def shape_of(text, sizes):
    """'1 N D', 'D 3 P P', '3D D', 'D 6PP' as numbers."""
    shape = []
    for word in text.split():
        factor, letters = re.fullmatch(r'(\d*)([A-Z]*)', word).groups()
        shape.append(int(factor or 1))
        for letter in letters:
            shape[-1] *= sizes[letter]
    return shape


def write_empty(path, shapes):
    """A checkpoint of zeros that takes no room on the disk."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4
        for n in shape:
            size *= n
        header[name] = {'dtype': 'F32', 'shape': shape, 'data_offsets': [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text)
        f.truncate(8 + len(text) + at)


def published(family, folder):
    """The checkpoint folder of a family, two blocks of it; returns the sizes."""
    sizes, config = dict(family['sizes'], L=BLOCKS), settings_of(family)
    names = {n: s for n, s in family['tensors'].items() if '{l}' not in n}
    for block in range(BLOCKS):
        names |= {n.replace('{l}', str(block)): s for n, s in family['tensors'].items() if '{l}' in n}
    if 'num_hidden_layers' in config:
        config['num_hidden_layers'] = BLOCKS
    if 'depth' in config.get('model_args', {}):
        config['model_args']['depth'] = BLOCKS
    os.makedirs(folder, exist_ok=True)
    write_empty(os.path.join(folder, 'model.safetensors'), {n: shape_of(s, sizes) for n, s in names.items()})
    with open(os.path.join(folder, 'config.json'), 'w') as f:
        json.dump(config, f)
    if 'preprocessor' in family:
        with open(os.path.join(folder, 'preprocessor_config.json'), 'w') as f:
            json.dump(family['preprocessor'], f)
    if 'C' not in sizes:
        width = sizes['D'] * (2 if 'dinov2' in family['name'] else 1)
        write_empty(os.path.join(folder, 'head.safetensors'), {'weight': [1000, width], 'bias': [1000]})
    return sizes


def heads_of(family, sizes, rows):
    """As the configuration says, or the table of timm's architectures: the row of that size and width."""
    if 'heads' in family:
        return family['heads']
    if 'num_attention_heads' in family['config']:
        return family['config']['num_attention_heads']
    size = family['config']['architecture'].split('_')[:2]
    return next((row[3] for row in rows if row[1] == sizes['D'] and row[0].split('_')[:2] == size), 0)


def settings_of(family):
    """config.json; B-cos has none of its own: ours, as in the golden."""
    if 'config' in family:
        return json.loads(json.dumps(family['config']))
    with open(os.path.join(FAMILIES, family['golden'], 'config.json')) as f:
        config = json.load(f)
    kind, size = family['name'].split()[1:]
    config['architecture'] = f'bcos_{kind}_{size}_' + ('patch16_224' if kind == 'simple_vit' else 'patch1_14')
    config.update(num_classes=1000, num_features=family['sizes']['D'], model_args={'logit_bias': -6.9})
    config['pretrained_cfg'].update(input_size=[6, 224, 224], num_classes=1000)
    return config


def check_names(t, b):
    with open(os.path.join(REFERENCE, 'names.json')) as f:
        names = json.load(f)
    rows = names['timm_architectures']['rows']
    for family in names['families']:
        folder = b.path('published')
        shutil.rmtree(folder, ignore_errors=True)
        sizes = published(family, folder)
        sets = ['--set', f'model.path={folder}', '--set', 'data.target=0']
        if 'C' not in sizes:
            sets += ['--set', f'model.head={folder}/head.safetensors']
        r = evaluate(b, '--dry-run', *sets)
        line = next((line for line in r.out.splitlines() if line.startswith('# model')), '')
        t.ok(f'{family["name"]}: is recognised', r.code == 0, r.err)
        heads = heads_of(family, sizes, rows)
        t.ok(f'{family["name"]}: {heads} heads', f', {heads} heads, ' in line, line)


# ---------------------------------------------------------------- refusals

def refused(t, b, name, words, config=None, weights=None, drop=()):
    """A checkpoint with changes to config.json and to its tensors is refused in one line that has the words."""
    folder = b.path('refused')
    shutil.rmtree(folder, ignore_errors=True)
    made = make_weights()
    made.update(weights or {})
    for key in drop:
        made.pop(key)
    make_model(folder, weights=made)
    with open(os.path.join(folder, 'config.json')) as f:
        settings = json.load(f)
    settings.update(config or {})
    with open(os.path.join(folder, 'config.json'), 'w') as f:
        json.dump(settings, f)
    r = evaluate(b, '--dry-run', '--set', f'model.path={folder}')
    errors = r.err.strip().splitlines()
    t.ok(f'{name}: refused', r.code == 2 and len(errors) == 1 and all(w in errors[0] for w in words), (r.code, r.err))


def check_refusals(t, b):
    w = make_weights()
    vector = w['norm.bias']
    without = [n for n in w if not n.startswith('head')]
    swin = {'layers.0.blocks.0.attn.relative_position_bias_table': w['norm.weight']}
    refused(t, b, 'Swin', ['swin_tiny_patch4_window7_224'], {'architecture': 'swin_tiny_patch4_window7_224'}, swin, without)
    refused(t, b, 'ConvNeXt', ['convnext_tiny'], {'architecture': 'convnext_tiny'}, {'stem.0.weight': vector}, without)
    refused(t, b, 'Swin under a ViT name', ['tensor pos_embed is missing'], None, swin, without)
    refused(t, b, 'Swin of transformers', ['model_type "swin"'], {'architecture': None, 'model_type': 'swin'})
    for tensor in ('blocks.0.attn.relative_position_bias_table', 'blocks.1.attn.rel_pos.mlp.fc1.weight',
                   'attn_pool.latent', 'blocks.0.attn.norm.weight', 'patch_embed.backbone.stem.conv.weight'):
        refused(t, b, tensor, [f'tensor {tensor}'], None, {tensor: vector})
    refused(t, b, 'relative positions alone', ['tensor pos_embed is missing'], None,
            {'blocks.0.attn.rel_pos.table': vector}, ['pos_embed'])
    refused(t, b, 'post-norm', ['vit_base_patch16_rpn_224'], {'architecture': 'vit_base_patch16_rpn_224'})
    refused(t, b, 'GELU by tanh', ['siglip'], {'architecture': 'vit_so400m_patch14_siglip_gap_224'})
    refused(t, b, 'attention pooling', ['global_pool'], {'global_pool': 'map'})
    refused(t, b, 'no norm at the end', ['norm.weight'], None, None, ['norm.weight', 'norm.bias'])
    refused(t, b, 'shape against config.json', ['num_classes is 7', 'tensors say 5'], {'num_classes': 7})
    refused(t, b, 'parallel blocks', ['blocks.0.norm1.weight'], None, {'blocks.0.in_proj.weight': vector},
            [n for n in w if n.startswith('blocks.0.')])


def check_shards(t, b):
    """Shards that are incomplete or not where the index says."""
    source = os.path.join(FAMILIES, 'tf_vit_sharded')
    folder, index = b.path('shards'), 'model.safetensors.index.json'

    def attempt(name, words, change):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        with open(os.path.join(folder, index)) as f:
            content = json.load(f)
        change(content['weight_map'])
        with open(os.path.join(folder, index), 'w') as f:
            json.dump(content, f)
        r = evaluate(b, '--dry-run', '--set', f'model.path={folder}')
        t.ok(f'shards: {name}', r.code == 2 and all(word in r.err for word in words) and r.err.count('\n') == 1, r.err)

    files = sorted(f for f in os.listdir(source) if f.endswith('.safetensors'))
    r = evaluate(b, '--dry-run', '--set', f'model.path={source}')
    t.ok('shards: whole', r.code == 0 and 'vit: 6 x 6 pixels' in r.out, (r.out, r.err))
    attempt('one is missing', [files[1], 'No such file'], lambda m: os.remove(os.path.join(folder, files[1])))
    attempt('a tensor in another file', ['vit.layernorm.bias', 'not where the index says'],
            lambda m: m.update({'vit.layernorm.bias': files[0] if m['vit.layernorm.bias'] == files[1] else files[1]}))
    attempt('a tensor in no file', ['tensor nowhere.weight is not in'], lambda m: m.update({'nowhere.weight': files[0]}))
    attempt('a path for a name', ['weight_map', 'expected the name of a file'], lambda m: m.update({'a': '../x.safetensors'}))
    attempt('nothing', ['weight_map'], lambda m: m.clear())

    def cut(_):
        with open(os.path.join(folder, files[0]), 'r+b') as f:
            f.truncate(os.path.getsize(os.path.join(folder, files[0])) - 4)
    attempt('a truncated one', [files[0], 'truncated'], cut)


def check_sizes(t, b):
    """model.input_size and model.head through the whole program."""
    r = evaluate(b, '--dry-run', '--set', 'model.input_size=48x64')
    t.ok('another input size', r.code == 0 and 'pos_embed resampled from 4 x 4 to 6 x 8' in r.out and '48 x 64 pixels' in r.out,
         r.err)
    for text, words in (('31', 'patches of 8'), ('4x', 'input_size'), ('big', 'input_size'), ('0', 'input_size')):
        r = evaluate(b, '--dry-run', '--set', f'model.input_size={text}')
        t.ok(f'input size {text}: refused', r.code == 2 and words in r.err and r.err.count('\n') == 1, r.err)
    w = make_weights()
    head = b.path('head.safetensors')
    write_safetensors(head, {'linear.weight': w['head.weight'], 'linear.bias': w['head.bias']})
    r = evaluate(b, '-o', b.path('a.h5'))
    s = evaluate(b, '-o', b.path('b.h5'), '--set', f'model.head={head}')
    t.ok('an external head that is the own one: runs', r.code == 0 and s.code == 0, (r.err, s.err))
    import h5py
    with h5py.File(b.path('a.h5')) as x, h5py.File(b.path('b.h5')) as y:
        t.ok('and gives the same', (x['images/logit'][:] == y['images/logit'][:]).all())
        t.ok('but is another checkpoint', x.attrs['checkpoint_sha256'] != y.attrs['checkpoint_sha256'])
    write_safetensors(head, {'linear.weight': w['head.weight'][:, :7].copy()})
    r = evaluate(b, '--dry-run', '--set', f'model.head={head}')
    t.ok('a head of another width: refused', r.code == 2 and 'takes 7 inputs' in r.err and r.err.count('\n') == 1, r.err)
    for kind, width, words in (('interleaved', 24, 'interleaved does not fit'), ('avg', 48, 'avg does not fit')):
        import numpy as np
        write_safetensors(head, {'w': np.zeros((5, width), '<f4')})
        r = evaluate(b, '--dry-run', '--set', f'model.head={head}', '--set', f'model.head_input={kind}')
        t.ok(f'a head of width {width} with {kind}: refused', r.code == 2 and words in r.err, r.err)
    r = evaluate(b, '--dry-run', '--set', 'model.head_input=avg')
    t.ok('head_input without a head: refused', r.code == 2 and 'model.head_input' in r.err, r.err)
    teacher = os.path.join(FAMILIES, 'tf_deit_teacher')
    write_safetensors(head, {'w': np.zeros((5, 16), '<f4')})
    r = evaluate(b, '--dry-run', '--set', f'model.path={teacher}', '--set', f'model.head={head}')
    t.ok('an external head takes the place of two', r.code == 0 and 'two heads' not in r.out, r.err)
    write_safetensors(head, {'a': w['head.weight'], 'b': w['head.weight']})
    r = evaluate(b, '--dry-run', '--set', f'model.head={head}')
    t.ok('a head of two matrices: refused', r.code == 2 and 'one matrix' in r.err and r.err.count('\n') == 1, r.err)


# ---------------------------------------------------------------- what pixels carry, and how pictures get in

def check_pixel_share(t, b):
    """Against the account of the reference in float64, on the input that the program itself made."""
    import h5py
    import numpy as np
    import torch
    sys.path.insert(0, REFERENCE)
    from torch_folders import load
    vit = load(b.path('model'), torch.float64)
    r = evaluate(b, '-o', b.path('share.h5'), '--overwrite', '--set', 'data.limit=4')
    if not t.ok('pixel_share: runs', r.code == 0, r):
        return
    with h5py.File(b.path('share.h5')) as f:
        rows = [(p.decode(), int(y), s) for p, y, s in
                zip(f['images/path'][:], f['images/target'][:], f['images/pixel_share'][:])]
    for path, target, share in rows:
        b.run('dave-replay', '--image', b.path('data', path), '--model', b.path('model'), '-o', b.path('x.h5'))
        with h5py.File(b.path('x.h5')) as f:
            x = torch.from_numpy(f['x'][...].astype(np.float64))[None]
        account = {name: float(part[0]) for name, part in vit.account(x, [target]).items()}
        logit = sum(account.values())
        t.close(f'pixel_share of {path}', share, account['pixels'] / logit,
                1e-5 * sum(map(abs, account.values())) / abs(logit))


def check_preprocessing(t, b):
    """Pictures through the settings of every layout (squashed, cropped, not square), byte for byte as Pillow has them."""
    import h5py
    import numpy as np
    sys.path.insert(0, REFERENCE)
    from torch_vit import crop_pixels, preprocessing
    for family in ('tf_vit', 'tf_deit', 'tf_dinov2', 'clip', 'vit_rect', 'deit3'):
        folder = os.path.join(FAMILIES, family)
        prep = preprocessing(folder)
        for image in b.images[:4]:
            r = b.run('dave-replay', '--image', b.path('data', image), '--model', folder, '-o', b.path('x.h5'))
            if not t.ok(f'{family}: {image} is read', r.code == 0, r):
                continue
            with h5py.File(b.path('x.h5')) as f:
                got = f['pixels_u8'][...]
            t.ok(f'{family}: {image}', np.array_equal(got, crop_pixels(b.path('data', image), prep)), got.shape)


def check_processors(t, b):
    """The forms of preprocessor_config.json: squashed or not, cropped or not, old files with numbers; and what is refused."""
    import h5py
    import numpy as np
    sys.path.insert(0, REFERENCE)
    from torch_vit import crop_pixels, preprocessing
    folder = b.path('processor')
    plain = {'image_mean': [.5] * 3, 'image_std': [.5] * 3, 'resample': 3, 'do_normalize': True}

    def write(family, settings):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(os.path.join(FAMILIES, family), folder)
        with open(os.path.join(folder, 'preprocessor_config.json'), 'w') as f:
            json.dump({**plain, **settings}, f)

    side = {'height': 6, 'width': 6}
    for name, family, settings in (
            ('DeiT', 'tf_deit', {'image_processor_type': 'DeiTImageProcessor', 'size': {'height': 9, 'width': 9}, 'crop_size': side,
                                 'do_center_crop': True}),
            ('old DeiT', 'tf_deit', {'feature_extractor_type': 'DeiTFeatureExtractor', 'size': 11, 'crop_size': 6,
                                     'do_center_crop': True}),
            ('ViT', 'tf_vit', {'image_processor_type': 'ViTImageProcessor', 'size': side}),
            ('old ViT', 'tf_vit', {'feature_extractor_type': 'ViTFeatureExtractor', 'size': 6, 'resample': 2}),
            ('Bit', 'tf_dinov2', {'image_processor_type': 'BitImageProcessor', 'size': {'shortest_edge': 11},
                                  'crop_size': {'height': 8, 'width': 8}, 'do_center_crop': True})):
        write(family, settings)
        prep = preprocessing(folder)
        for image in b.images[:4]:
            r = b.run('dave-replay', '--image', b.path('data', image), '--model', folder, '-o', b.path('x.h5'))
            if t.ok(f'{name}: {image} is read', r.code == 0, r):
                with h5py.File(b.path('x.h5')) as f:
                    t.ok(f'{name}: {image}', np.array_equal(f['pixels_u8'][...], crop_pixels(b.path('data', image), prep)))
    vit = {'image_processor_type': 'ViTImageProcessor', 'size': side}
    for words, settings in (
            ('image_processor_type: expected', {'size': side}), ('image_processor_type: expected', {**vit, 'image_processor_type': 'Conv'}),
            ('do_normalize: expected true', {**vit, 'do_normalize': False}),
            ('do_rescale: expected true', {**vit, 'do_rescale': False}), ('do_resize: expected true', {**vit, 'do_resize': False}),
            ('rescale_factor: expected 1/255', {**vit, 'rescale_factor': 1}),
            ('size: expected height and width', {**vit, 'size': {'shortest_edge': 6}}),
            ('size: expected height and width', {**vit, 'size': 2**32 + 6}),
            ('do_center_crop: ViT does not crop', {**vit, 'do_center_crop': True}),
            ('resample: expected 2 (bilinear) or 3 (bicubic)', {**vit, 'resample': 1}),
            ('image_std: expected', {**vit, 'image_std': [1, 1, 0]}),
            ('image_size is 6, but preprocessor_config.json makes 8 x 8', {**vit, 'size': 8})):
        write('tf_vit', settings)
        r = evaluate(b, '--dry-run', '--set', f'model.path={folder}', '--set', 'data.target=0')
        t.ok(f'refused: {words}', r.code == 2 and words in r.err and r.err.count('\n') == 1, r.err)


def check_conversion(t, b):
    """configs/from_torch.py: a head and a B-cos network as their authors publish them."""
    import torch
    sys.path.insert(0, REFERENCE)
    from torch_vit import read_safetensors
    script, source = os.path.join(HERE, '../../configs/from_torch.py'), os.path.join(FAMILIES, 'bcos_simple')

    def convert(*a):
        return subprocess.run([sys.executable, '-B', script, *a], capture_output=True, text=True)

    head = {'module.linear.weight': torch.randn(5, 24), 'module.linear.bias': torch.randn(5)}
    torch.save({'epoch': 1, 'state_dict': head}, b.path('head.pth'))
    r = convert('head', b.path('head.pth'), b.path('head.safetensors'))
    got = read_safetensors(b.path('head.safetensors'))
    t.ok('from_torch.py head', r.returncode == 0 and all((got[k] == v.numpy()).all() for k, v in head.items()), r.stderr)
    r = evaluate(b, '--dry-run', '--set', f'model.head={b.path("head.safetensors")}')
    t.ok('from_torch.py head: is read', r.code == 0, r.err)
    weights = read_safetensors(os.path.join(source, 'model.safetensors'))
    torch.save({k: torch.from_numpy(v) for k, v in weights.items()}, b.path('bcos.pth'))
    r = convert('bcos', b.path('bcos.pth'), 'simple_vit_s_patch16_224', b.path('bcos'))
    got = read_safetensors(b.path('bcos/model.safetensors'))
    t.ok('from_torch.py bcos', r.returncode == 0 and all((got[k] == v).all() for k, v in weights.items()), r.stderr)
    with open(b.path('bcos/config.json')) as f, open(os.path.join(source, 'config.json')) as g:
        made, golden = json.load(f), json.load(g)
    t.ok('from_torch.py bcos: the settings', made['architecture'] == golden['architecture'] and
         abs(made['model_args']['logit_bias'] - golden['model_args']['logit_bias']) < 1e-12, made)
    r = convert('bcos', b.path('head.pth'), 'simple_vit_s_patch16_224', b.path('none'))
    t.ok('from_torch.py: another file is refused', r.returncode != 0 and 'not a B-cos ViT' in r.stderr, r.stderr)


def body(t, b):
    check_conversion(t, b)
    check_processors(t, b)
    check_pixel_share(t, b)
    check_preprocessing(t, b)
    check_goldens(t, b)
    check_names(t, b)
    check_refusals(t, b)
    check_shards(t, b)
    check_sizes(t, b)


if __name__ == '__main__':
    main(body)
