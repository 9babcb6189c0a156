"""Compiles CUDA kernels with NVRTC: nvrtc.py LIBRARY OUT HEADERS FILE.cu ...

Needs no GPU, no driver and no CUDA toolkit. For each file, OUT gets `NAME.ptx.z` (PTX for compute
capability 8.0) and `NAME.cubin.z` (machine code for 9.0), both compressed by zlib, and all files
together `report.json`: registers, spilled bytes and shared memory of each kernel. HEADERS is a
folder of `.cuh` files, which the kernels include by name.
"""
import ctypes
import json
import os
import re
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

OPTIONS = ["--std=c++17", "-default-device"]


class Failed(Exception):
    pass


class Nvrtc:
    def __init__(self, library, headers):
        self.library = ctypes.CDLL(library)
        self.headers = headers

    def log(self, program):
        size = ctypes.c_size_t()
        self.library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self.library.nvrtcGetProgramLog(program, log)
        return log.value.decode()

    def compile(self, source, architecture, *options):
        """The result of one compilation, and its log."""
        program = ctypes.c_void_p()
        count = len(self.headers)
        texts = (ctypes.c_char_p * count)(*(text.encode() for text in self.headers.values()))
        names = (ctypes.c_char_p * count)(*(name.encode() for name in self.headers))
        text, name = source.read_bytes(), source.name.encode()
        self.library.nvrtcCreateProgram(ctypes.byref(program), text, name, count, texts, names)
        try:
            all_options = [f"--gpu-architecture={architecture}", *OPTIONS, *options]
            array = (ctypes.c_char_p * len(all_options))(*(o.encode() for o in all_options))
            code = self.library.nvrtcCompileProgram(program, len(all_options), array)
            log = self.log(program)
            if code != 0:
                raise Failed(f"{source} for {architecture}: NVRTC error {code}\n{log}")
            kind = "PTX" if architecture.startswith("compute_") else "CUBIN"
            size = ctypes.c_size_t()
            getattr(self.library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
            data = ctypes.create_string_buffer(size.value)
            getattr(self.library, f"nvrtcGet{kind}")(program, data)
            return data.raw, log
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))


def usage(log):
    """Registers, spills and shared memory of each kernel, from the log of the assembler."""
    kernels, name = {}, None
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            name = found[1]
            kernels[name] = {"registers": 0, "spill_bytes": 0, "shared_bytes": 0}
        if name and (found := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line)):
            kernels[name]["spill_bytes"] = int(found[1]) + int(found[2])
        if name and (found := re.search(r"Used (\d+) registers", line)):
            kernels[name]["registers"] = int(found[1])
            if found := re.search(r"(\d+) bytes smem", line):
                kernels[name]["shared_bytes"] = int(found[1])
    return kernels


def main(library, out, headers, *sources):
    texts = {file.name: file.read_text(encoding="utf-8") for file in sorted(Path(headers).glob("*.cuh"))}
    nvrtc = Nvrtc(library, texts)

    def compile(source):
        ptx, _ = nvrtc.compile(source, "compute_80")
        # PTX is not assembled here: inline assembly is checked by machine code alone
        _, log80 = nvrtc.compile(source, "sm_80", "--ptxas-options=-v")
        cubin, log90 = nvrtc.compile(source, "sm_90", "--ptxas-options=-v")
        # the driver reads PTX as text that ends with a zero
        Path(out, f"{source.stem}.ptx.z").write_bytes(zlib.compress(ptx.rstrip(b"\0") + b"\0", 9))
        Path(out, f"{source.stem}.cubin.z").write_bytes(zlib.compress(cubin, 9))
        return source.stem, {"sm_80": usage(log80), "sm_90": usage(log90)}

    # NVRTC may be called by several threads
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        report = dict(threads.map(compile, map(Path, sources)))
    Path(out, "report.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Failed as error:
        sys.exit(str(error))
