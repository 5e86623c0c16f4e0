"""A shard of many small samples, to time its index: make_tar.py FILE COUNT"""
import io
import sys
import tarfile


def main(path, count):
    with tarfile.open(path, 'w', format=tarfile.USTAR_FORMAT) as tar:
        for i in range(int(count)):
            for end, data in ('jpg', bytes(3000)), ('cls', b'7'):
                member = tarfile.TarInfo(f'ILSVRC2012_val_{i:08d}.{end}')
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


main(*sys.argv[1:])
