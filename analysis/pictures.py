"""The images of a results file as the network saw them: found again below the data set's root, resized and cropped."""
import functools
import io
import math
import os
import tarfile

import packages

np = packages.need('numpy')
PIL = packages.need('PIL.Image')

FILTERS = {'bilinear': PIL.BILINEAR, 'bicubic': PIL.BICUBIC, 'lanczos': PIL.LANCZOS, 'nearest': PIL.NEAREST}


def root(results, data=None):
    """The folder that paths of a results file are relative to: the data set's own, or where its list lies."""
    path = str(data or results.config.get('data', {}).get('path', '.'))
    return path if os.path.isdir(path) else os.path.dirname(path) or '.'


@functools.lru_cache(maxsize=64)
def members(shard):
    """name -> (place, bytes) of a tar's files; the first of a name counts. Read once: a shard has thousands."""
    found = {}
    with tarfile.open(shard, 'r:') as tar:
        for m in tar:
            if m.isfile():
                found.setdefault(m.name, (m.offset_data, m.size))
    return found


def content(folder, path):
    """The bytes of an image: of a file, or of the member of a tar shard ('SHARD.tar/MEMBER')."""
    full = os.path.join(folder, path)
    at = full.lower().find('.tar/')
    while at >= 0:
        shard, member = full[:at + 4], full[at + 5:]
        if os.path.isfile(shard):
            try:
                place, size = members(shard)[member]
            except KeyError:
                raise OSError(f'{shard}: no member {member}') from None
            except tarfile.TarError as e:
                raise OSError(f'{shard}: {e}') from None
            with open(shard, 'rb') as f:  # anew, so that processes do not share its position
                f.seek(place)
                return f.read(size)
        at = full.lower().find('.tar/', at + 1)
    with open(full, 'rb') as f:
        return f.read()


TRANSFORMERS = ('vit', 'deit', 'dinov2', 'dinov2_with_registers')  # its model_types; timm's names go on, with a size


def layout(model):
    """'timm', 'transformers' or 'bcos', by the architecture."""
    name = str(model.get('architecture'))
    return 'transformers' if name in TRANSFORMERS else 'bcos' if name.startswith('bcos_') else 'timm'


def geometry(model, frame, width, height):
    """(width, height) after resizing, (left, top) of the crop: src/model/preprocess.c says why."""
    transformers = layout(model) == 'transformers'
    crop, more = float(model.get('crop_pct', 1)), 1e-6 if transformers else 0
    h, w = (math.floor(side / crop + more) for side in frame)
    if model.get('squash'):
        new_w, new_h = w, h
    elif w == h:
        new_w, new_h = (h, int(h * height / width)) if width <= height else (int(h * width / height), h)
    else:
        ratio = min(height / h, width / w)
        new_w, new_h = round(width / ratio), round(height / ratio)
    whole = math.floor if transformers else round  # round() takes half to even
    return (new_w, new_h), (whole((new_w - frame[1]) / 2), whole((new_h - frame[0]) / 2))


def preprocess(image, model, frame):
    """A PIL image in the frame of the maps: uint8 (y, x, 3)."""
    size, (left, top) = geometry(model, frame, *image.size)
    always = frame[0] != frame[1] and not model.get('squash') and layout(model) == 'timm'
    method = PIL.BILINEAR if always else FILTERS.get(str(model.get('interpolation')), PIL.BICUBIC)
    image = image.convert('RGB').resize(size, method)
    return np.asarray(image.crop((left, top, left + frame[1], top + frame[0])))


def read(results, row, data=None):
    """Of one image; OSError where it cannot be read."""
    path = results.image('path')[row]
    try:
        with PIL.open(io.BytesIO(content(root(results, data), path))) as image:
            return preprocess(image, results.model, results.frame)
    except (PIL.DecompressionBombError, ValueError, SyntaxError) as e:
        raise OSError(f'{path}: {e}') from None
