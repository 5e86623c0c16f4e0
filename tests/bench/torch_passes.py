"""
Seconds per DAVE sample (forward and frozen backward pass; no warp, noise or aggregation) and per forward pass in
PyTorch on one core:
  torch_passes.py MODEL [--batches 1,4,8] [--rounds 5] [--heap]        MODEL: a checkpoint folder
prints CSV: model,batch,variant,what,seconds (medians of the rounds; what: sample, forward), and on standard error how
far each gradient is from the reference's. Variants:
  plain      the passes written plainly, without autograd: kept operators, W_v alone, one expression a step
  published  the same with what the published code carries: centring as a product with I - 11^T/d, and the backward pass
             through all of the qkv layer, zeros for Q and K
  autograd   the reference (tests/reference/torch_vit.py): frozen operators detached, autograd does the rest
With --heap, what can be done about PyTorch's speed from outside and by hand (glibc keeps large tensors on the heap instead
of returning their pages each time):
  tuned      plain with fused operators and in-place arithmetic wherever possible
  lean       tuned, and the last block for the class token alone, as the C program does
"""
import argparse
import ctypes
import os
import statistics
import sys
import time

os.environ.update(OPENBLAS_NUM_THREADS='1', OMP_NUM_THREADS='1')  # torch.set_num_threads() does not reach OpenBLAS
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'reference'))
import torch
import torch.nn.functional as F
from torch_vit import load_timm

torch.set_num_threads(1)
PLAIN, HEAP = ('plain', 'published', 'autograd'), ('tuned', 'lean')


def use_heap():
    """Large tensors from the heap, which keeps its pages: glibc's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD."""
    ctypes.CDLL(None).mallopt(-3, 1 << 25)
    ctypes.CDLL(None).mallopt(-1, 1 << 30)


class Plain:
    """The passes as one would write them down."""

    def __init__(self, vit, published):
        self.w, self.heads, self.eps, self.depth, self.p = vit.w, vit.heads, vit.eps, vit.depth, vit.patch
        self.d = self.w['norm.weight'].numel()
        self.published, self.centring = published, torch.eye(self.d) - 1 / self.d

    def linear(self, x, name):
        return F.linear(x, self.w[name + '.weight'], self.w[name + '.bias'])

    def centre(self, t):
        return t @ self.centring if self.published else t - t.mean(-1, keepdim=True)

    def norm(self, t, name):
        centred = self.centre(t)
        rstd = 1 / torch.sqrt((centred * centred).mean(-1, keepdim=True) + self.eps)
        return centred * rstd * self.w[name + '.weight'] + self.w[name + '.bias'], rstd

    def norm_back(self, g, name, rstd):
        return self.centre(g * self.w[name + '.weight']) * rstd

    def heads_of(self, t):
        return t.reshape(*t.shape[:2], self.heads, -1).transpose(1, 2)

    def attention(self, t, block, kept):
        u, rstd = self.norm(t, block + 'norm1')
        q, k, v = (self.heads_of(part) for part in self.linear(u, block + 'attn.qkv').chunk(3, -1))
        prob = torch.softmax(q @ k.transpose(-2, -1) * (self.d // self.heads) ** -.5, -1)
        kept.append((prob, rstd))
        mixed = (prob @ v).transpose(1, 2).reshape(t.shape)
        return t + self.linear(mixed, block + 'attn.proj') * self.w.get(block + 'ls1.gamma', 1)

    def attention_back(self, g, block, prob, rstd):
        dmixed = self.heads_of((g * self.w.get(block + 'ls1.gamma', 1)) @ self.w[block + 'attn.proj.weight'])
        dv = (prob.transpose(-2, -1) @ dmixed).transpose(1, 2).reshape(g.shape)
        w = self.w[block + 'attn.qkv.weight']
        if self.published:
            du = torch.cat([torch.zeros_like(dv), torch.zeros_like(dv), dv], -1) @ w
        else:
            du = dv @ w[2 * self.d:]
        return g + self.norm_back(du, block + 'norm1', rstd)

    def mlp(self, t, block, kept):
        u, rstd = self.norm(t, block + 'norm2')
        z = self.linear(u, block + 'mlp.fc1')
        gate = .5 * (1 + torch.erf(z / 2 ** .5))
        kept.append((torch.where(z == 0, 1, gate), rstd))
        return t + self.linear(z * gate, block + 'mlp.fc2') * self.w.get(block + 'ls2.gamma', 1)

    def mlp_back(self, g, block, gate, rstd):
        dz = (g * self.w.get(block + 'ls2.gamma', 1)) @ self.w[block + 'mlp.fc2.weight'] * gate
        return g + self.norm_back(dz @ self.w[block + 'mlp.fc1.weight'], block + 'norm2', rstd)

    def forward(self, x, kept):
        w = self.w
        t = F.conv2d(x, w['patch_embed.proj.weight'], w['patch_embed.proj.bias'], stride=self.p)
        t, cls, pos = t.flatten(2).transpose(1, 2), w['cls_token'].expand(len(x), -1, -1), w['pos_embed']
        t = torch.cat([cls, t + pos], 1) if pos.shape[1] == t.shape[1] else torch.cat([cls, t], 1) + pos
        for i in range(self.depth):
            t = self.mlp(self.attention(t, f'blocks.{i}.', kept), f'blocks.{i}.', kept)
        u, rstd = self.norm(t, 'norm')
        kept.append(rstd)
        return self.linear(u[:, 0], 'head')

    def backward(self, kept, y, shape):
        rstd = kept.pop()
        g = torch.zeros(*rstd.shape[:2], self.d)
        g[:, 0] = self.w['head.weight'][y]
        g = self.norm_back(g, 'norm', rstd)
        for i in reversed(range(self.depth)):
            g = self.mlp_back(g, f'blocks.{i}.', *kept.pop())
            g = self.attention_back(g, f'blocks.{i}.', *kept.pop())
        g = g[:, 1:].transpose(1, 2).reshape(shape[0], self.d, shape[2] // self.p, -1)
        return F.conv_transpose2d(g, self.w['patch_embed.proj.weight'], stride=self.p)

    @torch.inference_mode()
    def sample(self, x, y):
        kept = []
        self.forward(x, kept)
        return self.backward(kept, y, x.shape)

    @torch.inference_mode()
    def logits(self, x):
        return self.forward(x, [])


class Tuned:
    """The passes as fast as PyTorch lets them be; forward(x, kept) fills a list with what backward() needs."""

    def __init__(self, vit, lean):
        self.w, self.heads, self.eps, self.depth, self.p = vit.w, vit.heads, vit.eps, vit.depth, vit.patch
        self.d = self.w['norm.weight'].numel()
        self.lean = lean

    def wb(self, name):
        return self.w[name + '.weight'], self.w[name + '.bias']

    def norm(self, t, name):
        u, _, rstd = torch.native_layer_norm(t, (self.d,), *self.wb(name), self.eps)
        return u, rstd

    def norm_back(self, g, name, rstd):
        g = g * self.w[name + '.weight']
        return g.sub_(g.mean(-1, keepdim=True)).mul_(rstd)

    def add_branch(self, t, branch, gamma):
        return t.add_(branch) if gamma not in self.w else t.addcmul_(branch, self.w[gamma])

    def branch_back(self, g, gamma):
        return g if gamma not in self.w else g * self.w[gamma]

    def qkv(self, u, block, queries):
        """q (b h, queries, hd), k and v (b h, n, hd)."""
        (b, n, d), (w, bias) = u.shape, self.wb(block + 'attn.qkv')
        split = lambda y, parts: y.view(b, -1, parts, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).reshape(
            parts, b * self.heads, -1, d // self.heads)
        if queries == n:
            return split(F.linear(u, w, bias), 3)
        return *split(F.linear(u[:, :queries], w[:d], bias[:d]), 1), *split(F.linear(u, w[d:], bias[d:]), 2)

    def attention(self, t, i, kept):
        (b, n, d), block = t.shape, f'blocks.{i}.'
        queries = 1 if self.lean and i == self.depth - 1 else n
        u, rstd = self.norm(t, block + 'norm1')
        q, k, v = self.qkv(u, block, queries)
        prob = torch.baddbmm(q.new_empty(1, 1, 1), q, k.transpose(1, 2), beta=0, alpha=(d // self.heads)**-.5)
        prob = torch.softmax(prob, -1)
        mixed = (prob @ v).view(b, self.heads, queries, -1).transpose(1, 2).reshape(b, queries, d)
        if kept is not None:
            kept.append((prob, rstd))
        return self.add_branch(t[:, :queries], F.linear(mixed, *self.wb(block + 'attn.proj')), block + 'ls1.gamma')

    def attention_back(self, g, i, prob, rstd):
        (b, queries, d), n, block = g.shape, prob.shape[-1], f'blocks.{i}.'
        u = self.branch_back(g, block + 'ls1.gamma') @ self.w[block + 'attn.proj.weight']
        u = u.view(b, queries, self.heads, -1).transpose(1, 2).reshape(b * self.heads, queries, -1)
        u = (prob.transpose(1, 2) @ u).view(b, self.heads, n, -1).transpose(1, 2).reshape(b, n, d)
        u = self.norm_back(u @ self.w[block + 'attn.qkv.weight'][2 * d:], block + 'norm1', rstd)
        if queries == n:
            return g.add_(u)
        u[:, :queries] += g
        return u

    def mlp(self, t, i, kept):
        block = f'blocks.{i}.'
        u, rstd = self.norm(t, block + 'norm2')
        z = F.linear(u, *self.wb(block + 'mlp.fc1'))
        h = F.gelu(z)
        if kept is not None:
            kept.append((torch.div(h, z, out=z).nan_to_num_(1), rstd))
        return self.add_branch(t, F.linear(h, *self.wb(block + 'mlp.fc2')), block + 'ls2.gamma')

    def mlp_back(self, g, i, gate, rstd):
        block = f'blocks.{i}.'
        u = (self.branch_back(g, block + 'ls2.gamma') @ self.w[block + 'mlp.fc2.weight']).mul_(gate)
        u = self.norm_back(u @ self.w[block + 'mlp.fc1.weight'], block + 'norm2', rstd)
        return g.add_(u)

    def embed(self, x):
        (b, _, height, width), p, pos = x.shape, self.p, self.w['pos_embed']
        w, bias = self.wb('patch_embed.proj')
        x = x.view(b, 3, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, 3 * p * p)
        t = torch.empty(b, x.shape[1] + 1, self.d)
        t[:, :1] = self.w['cls_token']
        t[:, 1:] = F.linear(x, w.view(self.d, -1), bias)
        t[:, -pos.shape[1]:] += pos[0]
        return t

    def embed_back(self, g, shape):
        (b, _, height, width), p = shape, self.p
        dx = g[:, 1:] @ self.w['patch_embed.proj.weight'].view(self.d, -1)
        return dx.view(b, height // p, width // p, 3, p, p).permute(0, 3, 1, 4, 2, 5).reshape(shape)

    def forward(self, x, kept=None):
        t = self.embed(x)
        for i in range(self.depth):
            t = self.mlp(self.attention(t, i, kept), i, kept)
        u, rstd = self.norm(t[:, :1], 'norm')
        if kept is not None:
            kept.append(rstd[:, :1])
        return F.linear(u[:, 0], *self.wb('head'))

    def backward(self, kept, y, shape):
        first = self.norm_back(self.w['head.weight'][y][:, None], 'norm', kept.pop())
        g = first
        if not self.lean:
            g = torch.zeros(shape[0], 1 + shape[2] // self.p * (shape[3] // self.p), self.d)
            g[:, :1] = first
        for i in reversed(range(self.depth)):
            g = self.mlp_back(g, i, *kept.pop())
            g = self.attention_back(g, i, *kept.pop())
        return self.embed_back(g, shape)

    @torch.inference_mode()
    def sample(self, x, y):
        kept = []
        self.forward(x, kept)
        return self.backward(kept, y, x.shape)

    @torch.inference_mode()
    def logits(self, x):
        return self.forward(x)


class Autograd:
    def __init__(self, vit):
        self.vit, self.sample = vit, vit.effective_gradient

    @torch.inference_mode()
    def logits(self, x):
        return self.vit.logits(x)


class Bench:
    """The variants of one model, checked against the reference when they are made."""

    def __init__(self, folder, heap):
        if heap:
            use_heap()
        vit, prep = load_timm(folder)
        self.size = prep['size']
        self.name = os.path.basename(os.path.normpath(folder))
        if heap:
            self.variants = {name: Tuned(vit, name == 'lean') for name in HEAP}
        else:
            self.variants = {'plain': Plain(vit, False), 'published': Plain(vit, True), 'autograd': Autograd(vit)}
        self.check(vit)

    def input(self, batch):
        x = torch.randn(batch, 3, self.size, self.size, generator=torch.Generator().manual_seed(1))
        return x, torch.arange(batch) % 7

    def check(self, vit):
        x, y = self.input(2)
        want, logits = vit.effective_gradient(x, y), vit.logits(x)
        apart = lambda a, b: float((a - b).norm() / b.norm())
        for name, v in self.variants.items():
            off, off_logits = apart(v.sample(x, y), want), apart(v.logits(x), logits)
            print(f'{self.name}, {name}: gradient {off:.1e}, logits {off_logits:.1e} from the reference',
                  file=sys.stderr)
            if not max(off, off_logits) < 1e-4:
                raise SystemExit(f'torch_passes.py: {name} is wrong')

    def seconds(self, variant, what, batch):
        """Of one image."""
        (x, y), v = self.input(batch), self.variants[variant]
        began = time.perf_counter()
        v.sample(x, y) if what == 'sample' else v.logits(x)
        return (time.perf_counter() - began) / batch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model')
    parser.add_argument('--batches', default='1,4,8')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--heap', action='store_true')
    a = parser.parse_args()
    bench = Bench(a.model, a.heap)
    cases = [(v, what, int(n)) for n in a.batches.split(',') for v in bench.variants for what in ('sample', 'forward')]
    seconds = {case: [] for case in cases}
    for _ in range(a.rounds):
        for case in cases:
            seconds[case].append(bench.seconds(*case))
    for (variant, what, batch), s in seconds.items():
        print(f'{bench.name},{batch},{variant},{what},{statistics.median(s):.5f}')


if __name__ == '__main__':
    main()
