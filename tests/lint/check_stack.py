#!/usr/bin/env python3
"""check_stack.py [BUILDDIR] [--all]: the stack that each kernel program needs, read from the compiled objects.

Kernels until 6.12 refuse a program whose deepest chain of calls needs more than 512 bytes of stack; each frame counts in steps of 32
bytes (kernel/bpf/verifier.c, check_max_stack_depth). All kernels refuse one whose chain has more than 8 frames. A callback given to a helper
counts as a call. Later ones give programs a stack of their own, so that a program which loads on
the development machine may be refused elsewhere; here it fails without booting one. Prints a TAP line for each program over the bound
(--all: for each program) with its chain, and "N passed, N failed, N skipped".
"""
import pathlib
import struct
import sys

BOUND = 512
STEP = 32
FRAMES = 8
R_BPF_64_64 = 1
R_BPF_64_32 = 10
SHF_EXECINSTR = 4


class Object:
    """The functions of one object: name → (section, first instruction, instructions), and the calls between them."""

    def __init__(self, path):
        self.data = path.read_bytes()
        shoff, = struct.unpack_from("<Q", self.data, 40)
        shnum, shstrndx = struct.unpack_from("<HH", self.data, 60)
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, shoff + 64 * i) for i in range(shnum)]
        self.section_names = [self.text(self.sections[shstrndx], s[0]) for s in self.sections]
        self.symbols = self.read_symbols()
        self.relocations = self.read_relocations()
        self.functions = {(sec, value // 8): (name, size // 8) for name, kind, sec, value, size in self.symbols if kind == 2}

    def text(self, section, offset):
        start = section[4] + offset
        return self.data[start:self.data.index(b"\0", start)].decode()

    def read_symbols(self):
        out = []
        for s in self.sections:
            if s[1] != 2:
                continue
            strings = self.sections[s[6]]
            for at in range(s[4], s[4] + s[5], 24):
                name, info, _, shndx, value, size = struct.unpack_from("<IBBHQQ", self.data, at)
                out.append((self.text(strings, name), info & 15, shndx, value, size))
        return out

    def read_relocations(self):
        """(section, instruction) → (section, instruction) that a call across sections, or the address of a callback, goes to."""
        out = {}
        for s in self.sections:
            if s[1] != 9:
                continue
            for at in range(s[4], s[4] + s[5], 16):
                offset, info = struct.unpack_from("<QQ", self.data, at)
                if info & 0xffffffff == R_BPF_64_32:
                    _, kind, shndx, value, _ = self.symbols[info >> 32]
                    imm, = struct.unpack_from("<i", self.data, self.sections[s[7]][4] + offset + 4)
                    # a section's symbol leaves the place in the instruction, a function's has it itself
                    out[s[7], offset // 8] = (shndx, value // 8 + (imm + 1 if kind == 3 else 0))
                elif info & 0xffffffff == R_BPF_64_64:
                    _, _, shndx, value, _ = self.symbols[info >> 32]
                    if shndx < len(self.sections) and self.sections[shndx][2] & SHF_EXECINSTR:
                        imm, = struct.unpack_from("<i", self.data, self.sections[s[7]][4] + offset + 4)
                        out[s[7], offset // 8] = (shndx, (value + imm) // 8)
        return out

    def frame_and_calls(self, section, first, count):
        """Bytes of stack of one function, and the functions that it calls."""
        depth, calls, of_frame = 0, [], {}
        base = self.sections[section][4]
        skip = False
        for i in range(first, first + count):
            if skip:
                skip = False
                continue
            code, regs, off, imm = struct.unpack_from("<BBhi", self.data, base + 8 * i)
            dst, src, cls = regs & 15, regs >> 4, code & 7
            skip = code == 0x18
            if cls in (1,) and src == 10 or cls in (2, 3) and dst == 10:
                depth = max(depth, -off)
            if code == 0x85 and src == 1:
                to = self.relocations.get((section, i)) or (section, i + 1 + imm)
                if to[0] != 0:  # section 0: a function of the kernel's, which has no frame here
                    calls.append(to)
            if code == 0x18 and (section, i) in self.relocations:
                calls.append(self.relocations[section, i])
            if code == 0xbf and src == 10:
                of_frame[dst] = True
            elif code == 0x07 and of_frame.get(dst):
                depth = max(depth, -imm)
                of_frame.pop(dst)
            elif cls in (1, 4, 7) and code not in (0x07,):
                of_frame.pop(dst, None)
        return depth, calls

    def programs(self):
        """(name, bytes, frames, chain, longest chain) of each program: its deepest chain of calls, and the one of the most frames."""
        memo = {}

        def deepest(at):
            if at not in memo:
                if at not in self.functions:
                    raise ValueError(f"a call leads to no function: section {self.section_names[at[0]]}, instruction {at[1]}")
                name, count = self.functions[at]
                depth, calls = self.frame_and_calls(at[0], at[1], count)
                own = (max(depth, 1) + STEP - 1) // STEP * STEP
                below = [deepest(c) for c in calls]
                stack = max((b[0] for b in below), default=(0, []))
                frames = max((b[1] for b in below), default=(0, []))
                memo[at] = ((own + stack[0], [f"{name} {depth}"] + stack[1]), (1 + frames[0], [name] + frames[1]))
            return memo[at]

        for (section, first), (name, _) in sorted(self.functions.items()):
            if self.section_names[section] != ".text":
                (stack, chain), (frames, longest) = deepest((section, first))
                yield name, stack, frames, chain, longest


def main():
    args = [a for a in sys.argv[1:] if a != "--all"]
    build = pathlib.Path(args[0] if args else "build")
    objects = sorted((build / "bpf").glob("*.bpf.o"))
    passed = failed = 0
    for path in objects:
        for name, depth, frames, chain, longest in Object(path).programs():
            good = depth <= BOUND and frames <= FRAMES
            passed, failed = passed + good, failed + (not good)
            if not good or "--all" in sys.argv:
                print(f"{'ok' if good else 'not ok'} - stack of {path.name} {name}: {depth} bytes, at most {BOUND}; {frames} frames, at most {FRAMES}")
                print("# " + " > ".join(chain))
                print("# " + " > ".join(longest))
    if not objects:
        print(f"not ok - no kernel objects in {build}/bpf")
        failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
